import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { perplexity } from '../../src/evaluate/perplexity.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { readJson } from '../../src/formats/json.ts'
import type { Folder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { GPT2LMHeadModel } from '../../src/models/families/gpt2.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { QConv1D } from '../../src/nn/gptConv1D.ts'
import { parentPath } from '../../src/nn/module.ts'
import { QWeightModule, setComputeDtype } from '../../src/nn/qmodule.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden, goldenItem } from '../golden.ts'
import { equalRow, numberRow } from '../goldenTable.ts'
import { forwardGpt2 } from './float64Gpt2.ts'
import { forward64 } from './float64Llama.ts'
import { type Expected, manifest, readExpected, stories } from './golden.ts'
import { checkLogits, checkWeights, dequantized, logitsOf } from './goldenChecks.ts'

/* A model in any scheme beside what Python computed with it: a row is an item of the golden set. */

/** What Python computed with a quantized model. */
export interface GoldenScheme {
  id: string
  expected: Expected
  /** By the library's own forward pass. */
  expected_lib?: Pick<Expected, 'perplexity'>
  weight_stats: Expected['weight_stats']
}

/** The float models, and the windows in which their perplexity was measured. */
export const goldenModels: Record<string, { float: string; context: number }> = {
  stories260K: { float: stories, context: manifest.context },
  'shakespeare-gpt2-1M': { float: join(golden, 'shakespeare-gpt2-1M/float'), context: 256 },
}

/** The tests of items on every device: Python's folders compute what Python computed. */
export function testItems(scheme: string, ids: readonly string[]): void {
  for (const name of deviceNames) {
    describe(`${scheme} on ${name}`, () => {
      const device = openDevice(name, { threads: 2 })
      after(async () => {
        assert.equal(device.allocatedBytes, 0, 'disposed models hold nothing')
        await device.close()
      })
      for (const id of ids) {
        test(`${id}: Python's folder computes what Python computed`, async () => {
          const place = placeOf(id)
          using loaded = await loadCausalLM(place, { device, dtype: 'float32' })
          using floats = await loadCausalLM(place, { device, dtype: 'float32', dequantize: true })
          await checkOwnForward(id, loaded)
          const ours = await checkItem(id, loaded, floats)
          equalRow(id, name, 'dequantized weights')
          numberRow(id, name, 'perplexity', ours, goldenItem<GoldenScheme>(id).expected.perplexity, '0.05 %')
        })
      }
    })
  }
}

/** The folder of an item, or the GGUF file in it. */
function placeOf(id: string): string | Folder {
  const folder = join(golden, id)
  const file = readdirSync(folder).find((name) => name.endsWith('.gguf'))
  return file ? join(folder, file) : diskFolder(folder)
}

/**
 * Where the library rounds what layers take, and so do the loaded ones: the perplexity of its own forward
 * pass where it was measured, else its logits where they were, as near as codes of 8 bits that fall on the
 * other side of a half may leave them. Then the layers compute with floats.
 */
async function checkOwnForward(id: string, loaded: CausalLM): Promise<void> {
  const layers = [...loaded.namedModules()].flatMap(([, one]) => (one instanceof QWeightModule ? [one] : []))
  if (layers.every(({ computeDtype }) => computeDtype === null)) return
  const [model, variant] = id.split('/')
  const { prompt_ids, ppl_ids } = JSON.parse(readFileSync(join(golden, model, 'inputs.json'), 'utf8'))
  const { expected_lib } = goldenItem<GoldenScheme>(id)
  if (expected_lib) {
    const { perplexity: own } = await perplexity(loaded, ppl_ids, { context: goldenModels[model].context })
    assert.ok(Math.abs(own / expected_lib.perplexity - 1) < 2e-3, `${own}, not ${expected_lib.perplexity}`)
    setComputeDtype(loaded, 'float32')
    return
  }
  const tensors = await readExpected(join(golden, model, 'expected', `${variant}.safetensors`))
  const theirs = tensors.get('lib_prompt_logits')
  if (!theirs) {
    setComputeDtype(loaded, 'float32')
    return
  }
  const floats = tensors.get('prompt_logits') as Float32Array
  const ours = await logitsOf(loaded, prompt_ids)
  const distance = (values: Float32Array) =>
    Math.sqrt(theirs.reduce((sum, value, i) => sum + (value - values[i]) ** 2, 0))
  const share = distance(ours) / distance(floats)
  assert.ok(share < 0.1, `${share} of what rounding the inputs changes`)
  setComputeDtype(loaded, 'float32')
}

/**
 * Dequantized weights bit for bit, logits as near to the float64 ones as PyTorch's, perplexity within 0.05 %.
 * @param id of the item: `stories260K/bnb-nf4`
 * @param floats the same model, its weights dequantized
 * @returns the perplexity
 */
export async function checkItem(id: string, loaded: CausalLM, floats: CausalLM): Promise<number> {
  const [model, variant] = id.split('/')
  const item = goldenItem<GoldenScheme>(id)
  const inputs: { prompt_ids: number[]; ppl_ids: number[] } = JSON.parse(
    readFileSync(join(golden, model, 'inputs.json'), 'utf8'),
  )
  const tensors = await readExpected(join(golden, model, 'expected', `${variant}.safetensors`))
  await checkDequantized(loaded, { ...item.expected, weight_stats: item.weight_stats }, tensors)
  const python = tensors.get('prompt_logits') as Float32Array
  // Kernels do not round to the dtype of halves what they multiply, as the library's dequantized weights are.
  const logits = await logitsOf(isRounded(loaded) ? floats : loaded, inputs.prompt_ids)
  checkLogits(logits, python, await forwardExactly(floats, inputs.prompt_ids))
  const { context } = goldenModels[model]
  const { perplexity: ours } = await perplexity(loaded, inputs.ppl_ids, { context })
  const { perplexity: theirs } = item.expected
  assert.ok(Math.abs(ours / theirs - 1) < 5e-4, `${ours}, not ${theirs}`)
  return ours
}

/**
 * Whether dequantizing rounds to halves: other than floats of few bits times scales of 8 bits, which are
 * exact.
 */
function isRounded(model: CausalLM): boolean {
  return [...model.namedParameters()].some(([, weight]) => {
    if (!(weight instanceof QTensor) || weight.dtype === 'float32') return false
    const { qtype, heldScale } = weight
    const isInteger = qtype.values === 'signed' || qtype.values === 'unsigned'
    return isInteger || !('dtype' in heldScale && heldScale.dtype.startsWith('float8'))
  })
}

/**
 * Every dequantized weight is Python's. Zeros have any sign: of FP4's two, the one with the sign bit is −0
 * where the library computes value by value, and 0 where it computes in vectors and in the table that it
 * saves.
 */
async function checkDequantized(
  model: CausalLM,
  expected: Expected,
  tensors: ReadonlyMap<string, Float32Array>,
): Promise<void> {
  await checkWeights(model, expected, new Map())
  for (const [name, rows] of tensors) {
    if (!name.startsWith('dequant.')) continue
    const values = await rowsOf(model, name.slice('dequant.'.length), rows)
    assert.ok(rows.length > 0)
    assert.equal(
      rows.findIndex((value, i) => value !== values[i]),
      -1,
      name,
    )
  }
}

/**
 * A dequantized weight in the order of Python's rows: codes of GPT-2's layers are [out, in], and so are
 * GPTQModel's weights; transformers has those of GGUF as the layers do, [in, out].
 */
async function rowsOf(model: CausalLM, path: string, rows: Float32Array): Promise<Float32Array> {
  const values = await dequantized(model, path)
  const module = model.getModule(parentPath(path))
  if (!(module instanceof QConv1D) || rows.length !== 16 * module.nf || module.nf === module.nx) return values
  const { nf, nx } = module
  return values.map((_, i) => values[(i % nf) * nx + Math.floor(i / nf)])
}

/** Logits in float64, of the weights that codes stand for. */
async function forwardExactly(floats: CausalLM, ids: readonly number[]): Promise<Float64Array[]> {
  assert.ok(![...floats.namedModules()].some(([, module]) => module instanceof QWeightModule))
  const weights = await weightsOf(floats)
  if (floats instanceof GPT2LMHeadModel)
    return forwardGpt2({ heads: 4, layers: 4, epsilon: 1e-5, weights }, ids)
  const config = await readJson(diskFolder(stories), 'config.json')
  return forward64({ config, weights, quantized: new Map() }, ids)
}

async function weightsOf(model: CausalLM): Promise<Map<string, Float32Array>> {
  const weights = new Map<string, Float32Array>()
  for (const [path] of model.namedParameters()) weights.set(path, await dequantized(model, path))
  return weights
}
