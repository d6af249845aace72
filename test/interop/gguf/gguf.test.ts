import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openDevice } from '../../../src/devices/open.ts'
import { ggufBlockWriter } from '../../../src/formats/schemes/ggufBlockWriter.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { Embedding } from '../../../src/nn/embedding.ts'
import { Conv1D } from '../../../src/nn/gptConv1D.ts'
import { Linear } from '../../../src/nn/linear.ts'
import { type GgufQuantizedType, ggufCodes, ggufQuantizer } from '../../../src/quantize/ggufQuantizers.ts'
import { freeze, quantize } from '../../../src/quantize/quantize.ts'
import { golden, readGolden } from '../../golden.ts'
import { writtenGguf } from '../../models/writtenGguf.ts'
import { findPython, runJobs } from '../python.ts'

/* GGUF files of ours are read by llama.cpp's Python package, and are, byte for byte, those that it writes. */

const types: GgufQuantizedType[] = ['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q4_K', 'Q6_K', 'IQ4_NL', 'MXFP4']
const folder = mkdtempSync(join(tmpdir(), 'lowbit-gguf-'))
const place = (name: string) => join(folder, name)
const floats = join(golden, 'shakespeare-gpt2-1M/float')

/** The small GPT-2, its matrices of a type; those that are no whole blocks of it become another. */
async function quantized(type: GgufQuantizedType) {
  const model = await loadCausalLM(floats)
  quantize(model, {
    weights: ggufCodes(type),
    groupSize: ggufCodes(type).codebook ? 32 : null,
    algorithm: ggufQuantizer(type),
    layers: [Linear, Conv1D, Embedding],
    exclude: 'transformer.wpe',
  })
  freeze(model)
  return model
}

before(async () => {
  for (const type of types) {
    using model = await quantized(type)
    writeFileSync(place(`${type}.gguf`), await writtenGguf(model, ggufBlockWriter))
  }
  using model = await loadCausalLM('lowbit/models/stories260K')
  writeFileSync(place('stories.gguf'), await writtenGguf(model, ggufBlockWriter))
  const jobs = [
    ...types.map((type) => ({
      task: 'read',
      file: place(`${type}.gguf`),
      out: place(`${type}.safetensors`),
    })),
    ...[...types, 'stories'].map((name) => ({
      ...{ task: 'copy', file: place(`${name}.gguf`), out: place(`${name}.copy.gguf`) },
    })),
  ]
  await runJobs(await findPython('gguf'), jobs, folder, 'gguf/peer.py')
})

after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await openDevice().close()
})

for (const type of types) {
  test(`${type}: the package has our floats`, async () => {
    const theirs = await readGolden(place(`${type}.safetensors`))
    using model = await quantized(type)
    const ours = model.getParameter('transformer.h.1.mlp.c_proj.weight')
    using values = ours.dequantize()
    const found = theirs.get('blk.1.ffn_down.weight')
    assert.deepEqual(found?.shape, values.shape)
    assert.ok(Buffer.from(await values.readBytes()).equals(found?.bytes as Uint8Array))
  })
}

for (const name of [...types, 'stories'])
  test(`${name}: the package writes the same bytes`, () => {
    assert.ok(readFileSync(place(`${name}.gguf`)).equals(readFileSync(place(`${name}.copy.gguf`))))
  })
