import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { openGguf } from '../../src/formats/gguf.ts'
import { bytesSource } from '../../src/formats/source.ts'
import type { TensorFile } from '../../src/formats/tensorFile.ts'
import type { CausalLMConfig } from '../../src/models/causalLM.ts'
import { llamaGguf } from '../../src/models/families/llama.ts'
import { planGguf } from '../../src/models/ggufPlan.ts'
import { inModelOrder, unpermuteRows } from '../../src/models/ggufRows.ts'
import { modulePath } from '../../src/models/ggufTensors.ts'
import { fixtures } from '../formats/ggufBytes.ts'

test('names', () => {
  assert.equal(modulePath(llamaGguf, 'token_embd.weight'), 'model.embed_tokens.weight')
  assert.equal(modulePath(llamaGguf, 'output.weight'), 'lm_head.weight')
  assert.equal(modulePath(llamaGguf, 'output_norm.weight'), 'model.norm.weight')
  assert.equal(modulePath(llamaGguf, 'blk.12.attn_q.weight'), 'model.layers.12.self_attn.q_proj.weight')
  assert.equal(modulePath(llamaGguf, 'blk.0.attn_k.bias'), 'model.layers.0.self_attn.k_proj.bias')
  assert.equal(
    modulePath(llamaGguf, 'blk.3.ffn_norm.weight'),
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
    assert.equal(modulePath(llamaGguf, other), null, other)
  }
})

test('rows of rotating pairs are put apart, head by head', () => {
  // Two heads of six rows: of a head, file order is 0 3 1 4 2 5, as llama.cpp's permute lays rows 0 to 5.
  const stored = Uint8Array.from([0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11].flatMap((row) => [row, 100 + row]))
  const expected = Uint8Array.from(Array.from({ length: 12 }, (_, row) => [row, 100 + row]).flat())
  assert.deepEqual(unpermuteRows(stored, 6, 12), expected)
  // A bias has one value a row.
  assert.deepEqual([...unpermuteRows(Uint8Array.from([0, 2, 1, 3]), 4, 4)], [0, 1, 2, 3])
})

test('which rows those are, read at once or some at a time', async () => {
  const rows = (count: number) => Uint8Array.from({ length: 2 * count }, (_, i) => Math.floor(i / 2))
  const info = (name: string, count: number) => ({
    name,
    dtype: 'Q4_0' as const,
    shape: [count, 2],
    byteLength: 2 * count,
    byteOffset: 0,
  })
  const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map((name) => `model.layers.0.self_attn.${name}.weight`)
  const sizes = { [q]: 8, [k]: 4, [v]: 4 }
  const file: TensorFile = {
    name: 'x',
    tensors: new Map(Object.entries(sizes).map(([path, count]) => [path, info(path, count)])),
    unknown: new Map(),
    read: async (path) => rows(sizes[path]),
    readRows: async (path, start, end) => rows(sizes[path]).subarray(2 * start, 2 * end),
    close: async () => {},
  }
  const config = { heads: 2, keyValueHeads: 1 } as CausalLMConfig
  const ordered = inModelOrder(file, llamaGguf, config)
  const firsts = (bytes: Uint8Array) => [...bytes].filter((_, i) => i % 2 === 0)
  assert.deepEqual(firsts(await ordered.read(q)), [0, 2, 1, 3, 4, 6, 5, 7])
  assert.deepEqual(firsts(await ordered.read(k)), [0, 2, 1, 3])
  assert.deepEqual(firsts(await ordered.read(v)), [0, 1, 2, 3])
  assert.deepEqual(firsts(await ordered.readRows(q, 1, 6)), [2, 1, 3, 4, 6])
  assert.deepEqual(firsts(await ordered.readRows(v, 1, 3)), [1, 2])
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
    file.writeUInt32LE(20, entryOf('blk.1.ffn_up.weight') + 20)
    file.writeUInt32LE(77, entryOf('blk.2.ffn_up.weight') + 20)
  })
  const message =
    'x: the tensors must be those that the metadata describe; model.layers.0.self_attn.v_proj.weight is missing; ' +
    'blk.0.ffn_up.weight must be Q4_0 [172,64]; it is Q4_0 [86,64]; ' +
    'blk.1.ffn_up.weight must be float32, float16, bfloat16, Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0; it is IQ4_NL; ' +
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
