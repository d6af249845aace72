import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { Source } from '../../src/checkpoints/match.ts'
import { planTensors } from '../../src/checkpoints/plan.ts'
import { readSource } from '../../src/checkpoints/read.ts'
import { Staging } from '../../src/checkpoints/staging.ts'
import { numel } from '../../src/core/shape.ts'
import { openGguf } from '../../src/formats/gguf.ts'
import type { PartReader, QuantizedWeight } from '../../src/formats/schemes/scheme.ts'
import { bytesSource } from '../../src/formats/source.ts'
import type { TensorFile, TensorInfo } from '../../src/formats/tensorFile.ts'
import type { CausalLMConfig } from '../../src/models/causalLM.ts'
import { llamaGguf } from '../../src/models/families/llama.ts'
import { planGguf } from '../../src/models/ggufPlan.ts'
import { inModelOrder } from '../../src/models/ggufRows.ts'
import { modulePath } from '../../src/models/ggufTensors.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import type { QTensor } from '../../src/qtensor/qtensor.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'
import { fixtures } from '../formats/ggufBytes.ts'
import { testOnDevices } from '../tensor/devices.ts'

test('names', () => {
  assert.equal(modulePath(llamaGguf.modules, 'token_embd.weight'), 'model.embed_tokens.weight')
  assert.equal(modulePath(llamaGguf.modules, 'output.weight'), 'lm_head.weight')
  assert.equal(modulePath(llamaGguf.modules, 'output_norm.weight'), 'model.norm.weight')
  assert.equal(
    modulePath(llamaGguf.modules, 'blk.12.attn_q.weight'),
    'model.layers.12.self_attn.q_proj.weight',
  )
  assert.equal(modulePath(llamaGguf.modules, 'blk.0.attn_k.bias'), 'model.layers.0.self_attn.k_proj.bias')
  assert.equal(
    modulePath(llamaGguf.modules, 'blk.3.ffn_norm.weight'),
    'model.layers.3.post_attention_layernorm.weight',
  )
  for (const other of [
    'blk.0.output.weight',
    'attn_q.weight',
    'blk.0.attn_q',
    'blk.x.attn_q.weight',
    'constructor.weight',
    'rope_freqs.weight',
  ]) {
    assert.equal(modulePath(llamaGguf.modules, other), null, other)
  }
})

/*
 * Two query heads of six rows and one key head of four: of a head, file order is 0 3 1 4 2 5, as llama.cpp's
 * permute lays rows 0 to 5. Every row is its number, and 100 more.
 */
const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map((name) => `model.layers.0.self_attn.${name}`)
const rowsInFile: Record<string, number[]> = {
  [`${q}.weight`]: [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11],
  [`${q}.bias`]: [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11],
  [`${k}.weight`]: [0, 2, 1, 3],
  [`${v}.weight`]: [0, 1, 2, 3],
}

class Projections extends Module {
  model = {
    layers: [
      {
        self_attn: {
          q_proj: new Linear(2, 12),
          k_proj: new Linear(2, 4, { bias: false }),
          v_proj: new Linear(2, 4, { bias: false }),
        },
      },
    ],
  }
}

testOnDevices('rows of rotating pairs are put apart, head by head', async (device) => {
  const tensors = new Map<string, TensorInfo>()
  for (const [name, { length }] of Object.entries(rowsInFile)) {
    const shape = name.endsWith('bias') ? [length] : [length, 2]
    const byteLength = 4 * numel(shape)
    tensors.set(name, { name, dtype: 'float32', shape, byteLength, byteOffset: 0 })
  }
  const readRows = async (name: string, start: number, end: number) => {
    const cols = name.endsWith('bias') ? [0] : [0, 100]
    const values = rowsInFile[name].slice(start, end).flatMap((row) => cols.map((more) => row + more))
    return new Uint8Array(Float32Array.from(values).buffer)
  }
  const file: TensorFile = {
    ...{ name: 'x', tensors, unknown: new Map(), readRows, close: async () => {} },
    read: (name) => readRows(name, 0, rowsInFile[name].length),
    readBytes: () => assert.fail('bytes'),
  }
  const config = { heads: 2, keyValueHeads: 1 } as CausalLMConfig
  const model = new Projections()
  const ordered = inModelOrder(file, llamaGguf, config)
  const warn = assert.fail
  const options = { described: 'the test describes', isExtra: () => false, warn }
  const plan = await planTensors(model, ordered, { scheme: 'none', quantized: null }, options)
  for (const { path, load } of plan.parameters) {
    const tensor = (await load(device)) as Tensor
    const rows = Array.from(await tensor.toNumbers(), Number)
    const expected = rowsInFile[path].toSorted((a, b) => a - b)
    assert.deepEqual(
      rows,
      path.endsWith('bias') ? expected : expected.flatMap((row) => [row, row + 100]),
      path,
    )
    tensor.dispose()
  }
})

testOnDevices('blocks of such rows, read some at a time', async (device) => {
  const rows = rowsInFile[`${q}.weight`]
  const info = {
    name: 'q',
    dtype: 'Q4_0',
    shape: [12, 2],
    byteLength: 24,
    byteOffset: 0,
    headRows: 6,
  } as const
  const file: TensorFile = {
    ...{ name: 'x', tensors: new Map([['q.weight', info]]), unknown: new Map() },
    read: async () => assert.fail('whole'),
    readBytes: async () => assert.fail('bytes'),
    readRows: async (_, start, end) => Uint8Array.from(rows.slice(start, end).flatMap((row) => [row, row])),
    close: async () => {},
  }
  const read = async (parts: PartReader) => {
    const part = await parts.rows('weight', 1, 8)
    const bytes = Array.from(await part.toNumbers(), Number)
    assert.deepEqual(
      bytes,
      [1, 2, 3, 4, 5, 6, 7].flatMap((row) => [row, row]),
    )
    return undefined as unknown as QTensor
  }
  const weight = { read } as unknown as QuantizedWeight
  const source = { origin: { kind: 'quantized', layer: 'q', weight }, places: [] } as unknown as Source
  await readSource(source, { device, file, staging: new Staging() })
})

/** A file with a tensor renamed, or another's type or sizes changed, in place. */
async function changed(change: (file: Buffer, entryOf: (name: string) => number) => void): Promise<void> {
  const file = readFileSync(`${fixtures}stories260K-q4_0.gguf`)
  change(file, (name) => file.indexOf(name) + name.length)
  await planGguf(bytesSource(file, 'x'))
}

test('what is missing, misshapen, unsupported or left over is listed in one error', async () => {
  const listed = changed((file, entryOf) => {
    file.write('blk.0.attn_W', file.indexOf('blk.0.attn_v.weight'))
    // After the name: dimensions, sizes, type, offset. Half as many rows.
    file.writeBigUInt64LE(86n, entryOf('blk.0.ffn_up.weight') + 4 + 8)
    // Bytes, but fewer rows, so that they have a place.
    file.writeBigUInt64LE(64n, entryOf('blk.1.ffn_up.weight') + 4 + 8)
    file.writeUInt32LE(24, entryOf('blk.1.ffn_up.weight') + 20)
    file.writeUInt32LE(77, entryOf('blk.2.ffn_up.weight') + 20)
  })
  const message =
    'x: the tensors must be those that the metadata describe; model.layers.0.self_attn.v_proj.weight is missing; ' +
    'blk.0.ffn_up.weight must be Q4_0 [172,64]; it is Q4_0 [86,64]; ' +
    'blk.1.ffn_up.weight must be float32, float16, bfloat16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0, MXFP4 or NVFP4; it is I8; ' +
    'blk.2.ffn_up.weight is of type 77, which is not known; blk.0.attn_W.weight is not a part of the model'
  await assert.rejects(listed, { name: 'FormatError', message })
})

test('all that is missing from a file without tensors, but not all of it in words', async () => {
  const whole = readFileSync(`${fixtures}stories260K-q4_0.gguf`)
  const file = await openGguf(bytesSource(whole))
  const first = whole.indexOf('token_embd.weight') - 8
  const empty = Buffer.concat([whole.subarray(0, 8), Buffer.alloc(8), whole.subarray(16, first)])
  assert.equal(file.tensors.size, 47)
  await assert.rejects(planGguf(bytesSource(empty)), /model.embed_tokens.weight is missing; .*; and 42 more$/)
})
