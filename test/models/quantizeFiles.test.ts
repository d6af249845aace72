import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { placeCheckpoint } from '../../src/formats/safetensorsWriter.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM, planCausalLM } from '../../src/models/load.ts'
import { quantizeFiles, streams } from '../../src/models/quantizeFiles.ts'
import { freeze, type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { fixtures } from '../formats/ggufBytes.ts'
import { golden } from '../golden.ts'

/*
 * From file to file the same bytes are written as by a model that is held whole: load, quantize, freeze,
 * save.
 */

const device = openDevice('cpu')
const root = mkdtempSync(join(tmpdir(), 'lowbit-files-'))
after(async () => {
  rmSync(root, { recursive: true })
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

const stories = 'lowbit/models/stories260K'
const cases: [name: string, place: string, options: QuantizeOptions, dtype?: 'bfloat16'][] = [
  ['int4', stories, { weights: 'int4', exclude: 'lm_head' }],
  ['the tied head, too', stories, { weights: 'int8' }],
  ['in bfloat16', stories, { weights: 'int2', algorithm: 'hqq' }, 'bfloat16'],
  ['a GPT-2', join(golden, 'shakespeare-gpt2-1M/float'), { weights: 'int4' }],
  ['a GPT-2 from GGUF', join(golden, 'families/gpt2.gguf'), { weights: 'int8' }],
  ['floats of bfloat16 in few bits', 'bfloat16', { weights: 'int8', exclude: 'lm_head' }],
  ['from GGUF', `${fixtures}stories260K-q4_0.gguf`, { weights: 'int8', include: '*.mlp.*' }],
]

/** A model of int4 with scales of bfloat16. */
async function saveHalf(): Promise<string> {
  const place = join(root, 'bfloat16')
  const quantization = { method: 'quanto', weights: 'int4', exclude: 'lm_head' } as const
  using model = await loadCausalLM(stories, { device, dtype: 'bfloat16', quantization })
  await save(model, place)
  return place
}

for (const [name, saved, quantization, dtype] of cases) {
  test(`${name}: the same files`, async () => {
    const place = saved === 'bfloat16' ? await saveHalf() : saved
    const [streamed, held] = [join(root, `${name} streamed`), join(root, `${name} held`)]
    const plan = await planCausalLM(place)
    const floats = plan.scheme !== 'none'
    assert.ok(streams(plan, floats, quantization))
    const told: string[] = []
    const options = {
      device,
      dtype,
      quantization,
      rowsBytes: 1000,
      onWarning: (message: string) => void told.push(message),
    }
    const onWeight = async (path: string) => void told.push(path)
    const { bytes } = await quantizeFiles(plan, streamed, floats, { ...options, onWeight })
    await plan.close()
    const model = await loadCausalLM(place, { device, dtype, dequantize: floats })
    assert.deepEqual(
      told.filter((line) => !line.startsWith('save: ')).sort(),
      quantize(model, quantization).sort(),
    )
    freeze(model)
    assert.equal(await save(model, held, { onWarning: () => {} }), bytes)
    model.dispose()
    assert.deepEqual(readdirSync(streamed), readdirSync(held))
    for (const file of readdirSync(held))
      assert.ok(readFileSync(join(streamed, file)).equals(readFileSync(join(held, file))), file)
  })
}

test('a float that is not sound in a later piece of its rows is refused by its place in the whole', async () => {
  const broken = join(root, 'broken')
  cpSync('models/stories260K', broken, { recursive: true })
  const path = join(broken, 'model.safetensors')
  const bytes = readFileSync(path)
  const dataStart = 8 + Number(bytes.readBigUInt64LE())
  const header = JSON.parse(bytes.toString('utf8', 8, dataStart))
  const [start] = header['model.embed_tokens.weight'].data_offsets
  bytes.writeFloatLE(Number.NaN, dataStart + start + 4 * 3000)
  writeFileSync(path, bytes)
  const plan = await planCausalLM(broken)
  const options = { device, quantization: { weights: 'int4', exclude: 'lm_head' }, rowsBytes: 1000 } as const
  await assert.rejects(
    quantizeFiles(plan, join(root, 'refused'), false, { ...options, onWarning: () => {} }),
    /model\.embed_tokens\.weight must hold finite numbers; value 3000 is NaN or infinite/,
  )
  await plan.close()
})

test('bytes that do not fit the tensor they are put into, or lack, are refused', async () => {
  const tensors = [{ name: 'w', dtype: 'float32', shape: [2] }] as const
  const place = () => placeCheckpoint(memoryFolder(new Map()), tensors)
  const refused = { name: 'FormatError', message: /must have 8 bytes, as float32 \[2\]; received/ }
  await assert.rejects((await place()).put('w', 4, new Uint8Array(8)), refused)
  await assert.rejects((await place()).put('v', 0, new Uint8Array(8)), /"v" must be one of those placed/)
  const placed = await place()
  await placed.put('w', 0, new Uint8Array(4))
  await assert.rejects(placed.close(), refused)
})

test('a weight of which values do not fit the format is refused when it is made', async () => {
  const plan = await planCausalLM(stories)
  const quantization = { weights: 'int4', groupSize: 32, zeroPoints: true, include: '*.q_proj' } as const
  const options = { device, quantization, format: 'awq', onWarning() {} }
  await assert.rejects(quantizeFiles(plan, join(root, 'misfit'), false, options), {
    name: 'FormatError',
    message:
      /^save: awq must be able to hold model\.layers\.0\.self_attn\.q_proj; its scales are no numbers of float16/,
  })
  plan.model.dispose()
  await plan.close()
})
