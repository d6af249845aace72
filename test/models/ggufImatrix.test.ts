import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { openGguf } from '../../src/formats/gguf.ts'
import type { ImportanceMatrix } from '../../src/formats/imatrix.ts'
import { bytesSource, memoryFolder } from '../../src/formats/source.ts'
import { type ConvertOptions, convert } from '../../src/models/convert.ts'
import { deviceNames } from '../deviceNames.ts'
import { golden } from '../golden.ts'

/*
 * Importance matrices that llama-imatrix wrote, of either kind, and the bytes that llama-quantize made with
 * them: test/golden/gguf/imatrix.
 */

const device = openDevice(deviceNames[0], { threads: 2 })
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

const folder = 'test/golden/gguf/imatrix'
const theirs: Record<string, Record<string, [type: string, hash: string]>> = JSON.parse(
  readFileSync(join(folder, 'llama-quantize.json'), 'utf8'),
)

async function converted(options: ConvertOptions) {
  const files = new Map<string, Uint8Array<ArrayBuffer>>()
  const warnings: string[] = []
  const onWarning = (message: string) => warnings.push(message)
  const source = join(golden, 'shakespeare-gpt2-1M/float')
  await convert(source, memoryFolder(files), { device, onWarning, ...options })
  const [bytes] = files.values()
  return { warnings, file: await openGguf(bytesSource(bytes, 'written')) }
}

for (const [key, tensors] of Object.entries(theirs))
  test(`${key}: the bytes that llama-quantize makes`, async () => {
    const [type, kind] = key.split(' ')
    const imatrix = join(folder, `imatrix.${kind}`)
    const { file, warnings } = await converted({ to: `gguf:${type}`, imatrix })
    assert.deepEqual(warnings, [])
    assert.equal(Object.keys(tensors).length, 16)
    for (const [name, [theirType, hash]] of Object.entries(tensors)) {
      const made = await file.read(name)
      assert.equal(file.tensors.get(name)?.dtype, theirType, name)
      assert.equal(createHash('sha256').update(made).digest('hex').slice(0, 16), hash, name)
    }
    const { metadata } = file
    assert.equal(metadata.string('quantize.imatrix.file'), imatrix)
    assert.equal(metadata.count('quantize.imatrix.entries_count'), 16)
    assert.equal(metadata.count('quantize.imatrix.chunks_count'), 12)
    await file.close()
  })

test('what a matrix lacks is told; one of other columns, and another target, are refused', async () => {
  const one = (columns: number): ImportanceMatrix => ({
    entries: new Map([
      ['blk.0.ffn_up.weight', { sums: new Float32Array(columns).fill(1), counts: Float32Array.of(4) }],
    ]),
    ...{ datasets: [], chunks: 0, chunkTokens: 0 },
  })
  const { warnings, file } = await converted({ to: 'gguf:q4_0', imatrix: one(128) })
  await file.close()
  assert.match(warnings.join(), /^convert: the importance matrix has nothing of blk\.0\.attn_qkv\.weight, /)
  await assert.rejects(converted({ to: 'gguf:q4_0', imatrix: one(100) }), {
    name: 'FormatError',
    message: 'imatrix: blk.0.ffn_up.weight must have 128 columns, as in the model; it has 100 numbers',
  })
  await assert.rejects(converted({ to: 'gptq', imatrix: one(128) }), {
    message:
      "convert: an importance matrix goes with GGUF's quantized types, such as gguf:q4_k_m; received gptq",
  })
})
