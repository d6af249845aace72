import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type SaveOptions, save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { type Folder, memoryFolder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { type LoadOptions, loadCausalLM } from '../../src/models/load.ts'
import { fixtures } from '../formats/ggufBytes.ts'
import { withRopeFactors } from './ggufModel.ts'
import { pythonFolder } from './golden.ts'

/*
 * Every writer is followed by its reader: whatever can be loaded, in whatever way, is saved, loaded again,
 * and computes the same.
 */

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

const gguf = (kind: string): Blob =>
  new Blob([Uint8Array.from(readFileSync(`${fixtures}stories260K-${kind}.gguf`))])
const turned = (factors: number[]): Blob =>
  new Blob([Uint8Array.from(withRopeFactors(readFileSync(`${fixtures}stories260K-q4_0.gguf`), factors))])
const longrope = fileURLToPath(new URL('../golden/longrope', import.meta.url))

const quanto = (weights: 'int2' | 'int4' | 'int8' | 'float8'): LoadOptions => ({
  quantization: { method: 'quanto', weights, exclude: 'lm_head' },
})

const sources: Record<string, [place: string | Folder | Blob, load?: LoadOptions, write?: SaveOptions]> = {
  'floats as they are': [pythonFolder('float')],
  'floats in float16': [pythonFolder('float'), { dtype: 'float16' }],
  'floats in bfloat16, in shards': [pythonFolder('float'), { dtype: 'bfloat16' }, { maxShardBytes: 100_000 }],
  'a folder of quanto': [pythonFolder('quanto-qint4')],
  'a folder of quanto, dequantized': [pythonFolder('quanto-qint2'), { dequantize: true }],
  'int2, quantized while loading': [pythonFolder('float'), quanto('int2')],
  'int4, quantized while loading, in shards': [
    pythonFolder('float'),
    quanto('int4'),
    { maxShardBytes: 60_000 },
  ],
  'int8, quantized while loading': [pythonFolder('float'), { ...quanto('int8'), dtype: 'bfloat16' }],
  'float8, quantized while loading': [pythonFolder('float'), quanto('float8')],
  LongRoPE: [longrope],
  'LongRoPE, quantized': [longrope, quanto('int8')],
  'GGUF, dequantized': [gguf('q4_0'), { dequantize: true }],
  'GGUF with minima, dequantized in bfloat16': [gguf('q5_1'), { dequantize: true, dtype: 'bfloat16' }],
  'GGUF, quantized anew': [gguf('q8_0'), quanto('int8')],
  'GGUF with factors of the rotary frequencies': [turned([1, 2, 4, 8]), { dequantize: true }],
  'GGUF with factors of the rotary frequencies, quantized': [turned([1, 1, 3, 32]), quanto('int4')],
}

/** Logits of a text that is longer than any first training here. */
async function logits(model: CausalLM): Promise<Float32Array | Float64Array> {
  const ids = Array.from({ length: 40 }, (_, i) => (7 * i + 3) % 48)
  const result = model.forward(ids)
  try {
    return await result.toNumbers()
  } finally {
    result.dispose()
  }
}

for (const [name, [place, loading, saving]] of Object.entries(sources)) {
  test(`saved and loaded again: ${name}`, async () => {
    using model = await loadCausalLM(place, { device, ...loading })
    const folder = memoryFolder()
    await save(model, folder, saving)
    const warnings: string[] = []
    using again = await loadCausalLM(folder, { device, onWarning: (message) => void warnings.push(message) })
    assert.deepEqual(warnings, [])
    assert.deepEqual(await logits(again), await logits(model))
    assert.deepEqual(again.eosTokenIds, model.eosTokenIds)
    const text = 'Once upon a time, 2 cats — naïve ones.'
    assert.deepEqual(again.tokenizer?.encode(text), model.tokenizer?.encode(text))
  })
}
