import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { stateDict } from '../../src/checkpoints/stateDict.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { writeCheckpoint } from '../../src/formats/safetensorsWriter.ts'
import { type Folder, memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { openCheckpoint } from '../../src/models/openCheckpoint.ts'
import { verify } from '../../src/models/verify.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { lowbit } from '../cli/lowbit.ts'
import { golden } from '../golden.ts'

/*
 * Faults planted in files of the Python libraries are found; the files themselves are sound.
 */

const device = openDevice('cpu')
const root = mkdtempSync(join(tmpdir(), 'lowbit-verify-'))
after(async () => {
  rmSync(root, { recursive: true })
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

const item = (id: string) => join(golden, 'stories260K', id)

/** A copy of a folder, of which a tensor's bytes were changed. */
function damaged(id: string, name: RegExp, change: (bytes: Buffer) => void): string {
  const place = mkdtempSync(join(root, 'damaged-'))
  cpSync(item(id), place, { recursive: true })
  const path = join(place, 'model.safetensors')
  const file = readFileSync(path)
  const dataStart = 8 + Number(file.readBigUInt64LE())
  const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(
    file.toString('utf8', 8, dataStart),
  )
  const found = Object.keys(header).find((each) => name.test(each))
  assert.ok(found)
  const [start, end] = header[found].data_offsets
  change(file.subarray(dataStart + start, dataStart + end))
  writeFileSync(path, file)
  return place
}

for (const id of ['quanto-qint4', 'gptq-w4-g32-sym', 'bnb-nf4-dq', 'ct-w4a16', 'mlx-w4-g64'])
  test(`${id} is sound; its errors are those of its floats, summed in float64`, async () => {
    const float = 'lowbit/models/stories260K'
    const found = await verify(item(id), { against: float, device })
    assert.deepEqual(found.findings, [])
    assert.equal(found.sound, true)
    assert.equal(found.errors.get('model.norm.weight'), 0)
    using theirs = await loadCausalLM(float, { device })
    using ours = await loadCausalLM(item(id), { device, dequantize: true, dtype: 'float32' })
    const path = 'model.layers.2.self_attn.q_proj.weight'
    const [w, q] = await Promise.all(
      [theirs, ours].map((model) => (model.getParameter(path) as Tensor).toNumbers()),
    )
    let [error, norm] = [0, 0]
    for (const [i, value] of w.entries()) {
      error += (value - q[i]) ** 2
      norm += value ** 2
    }
    const measured = found.errors.get(path) as number
    assert.ok(measured > 0.01 && Math.abs(measured / Math.sqrt(error / norm) - 1) < 1e-6, `${measured}`)
  })

test('numbers that are none, scales of 0 and small ones', async () => {
  const scales = /layers\.1\.mlp\.up_proj\.scales$/
  const nan = await verify(
    damaged('gptq-w4-g32-sym', scales, (bytes) => void bytes.writeUInt16LE(0x7e00, 6)),
    { device },
  )
  assert.equal(nan.sound, false)
  assert.deepEqual(
    nan.findings.map(({ tensor, unsound }) => [tensor, unsound]),
    [['model.layers.1.mlp.up_proj.weight', true]],
  )
  assert.match(
    nan.findings[0].finding,
    /up_proj\.scales must hold finite numbers; value 3 is NaN or infinite/,
  )
  const zero = await verify(
    damaged('gptq-w4-g32-sym', scales, (bytes) => void bytes.writeUInt16LE(0, 0)),
    { device },
  )
  assert.deepEqual(zero.findings, [
    {
      tensor: 'model.layers.1.mlp.up_proj.weight',
      unsound: false,
      finding: 'it has scales of 0, the first of block 0: its weights are 0',
    },
  ])
  assert.ok(zero.sound)
  const small = await verify(
    damaged('gptq-w4-g32-sym', scales, (bytes) => void bytes.writeUInt16LE(0x3ff, 0)),
    { device },
  )
  assert.match(
    small.findings[0].finding,
    /^it has scales too small for all digits of float16, the first of block 0$/,
  )
  const least = await verify(
    damaged('gptq-w4-g32-sym', scales, (bytes) => void bytes.writeUInt16LE(0x400, 0)),
    { device },
  )
  assert.deepEqual(least.findings, [])
})

test('what is no model is a finding, not an error; the command ends with 1', async () => {
  const place = mkdtempSync(join(root, 'cut-'))
  cpSync(item('bnb-nf4'), place, { recursive: true })
  const path = join(place, 'model.safetensors')
  writeFileSync(path, readFileSync(path).subarray(0, -10))
  const found = await verify(place, { device })
  assert.equal(found.scheme, null)
  assert.match(found.findings[0].finding, /model\.safetensors: /)
  const { code, stdout } = await lowbit('verify', place)
  assert.equal(code, 1)
  assert.match(stdout, /unsound\s+model\s+.*model\.safetensors: [\s\S]*0 tensors, 0 B: unsound\n$/)
})

test('a tied weight that is stored twice is told', async () => {
  using model = await loadCausalLM('lowbit/models/stories260K', { device })
  const files = new Map<string, Uint8Array>()
  await save(model, memoryFolder(files))
  const state = await stateDict(model)
  const tensors = [...state].map(([name, { dtype, shape, bytes }]) => ({
    name,
    dtype,
    shape,
    bytes: () => bytes,
  }))
  assert.ok(state.has('lm_head.weight') && state.has('model.embed_tokens.weight'))
  await writeCheckpoint(memoryFolder(files), tensors)
  const { findings, sound } = await verify(memoryFolder(files), { device })
  const names = 'model.embed_tokens.weight and lm_head.weight'
  assert.deepEqual(findings, [
    {
      tensor: 'model.embed_tokens.weight',
      unsound: false,
      finding: `it is stored 2 times, as ${names}; one is read`,
    },
  ])
  assert.ok(sound)
})

test('a model that cannot be compared with leaves no file of the other open', async () => {
  const disk = diskFolder(item('quanto-qint8'))
  let opened = 0
  const counting: Folder = {
    ...{ name: disk.name, list: () => disk.list(), has: (file) => disk.has(file) },
    async open(file) {
      const source = await disk.open(file)
      opened++
      return {
        ...{ name: source.name, size: source.size, read: source.read.bind(source) },
        async close() {
          opened--
          await source.close()
        },
      }
    },
  }
  await assert.rejects(verify(counting, { against: join(root, 'nothing'), device }), { name: 'FormatError' })
  assert.equal(opened, 0)
})

test('a checkpoint is read tensor by tensor', async () => {
  await using checkpoint = await openCheckpoint(item('gptq-w4-g32-sym'))
  assert.equal(checkpoint.scheme, 'gptq')
  assert.equal(checkpoint.config.hidden_size, 64)
  const kinds = new Map(checkpoint.tensors.map(({ path, kind }) => [path, kind]))
  assert.equal(kinds.get('model.norm.weight'), 'float32')
  using weight = await checkpoint.read('model.layers.0.mlp.up_proj.weight', { device })
  using norm = await checkpoint.read('model.norm.weight', { device, dtype: 'float16' })
  assert.ok(weight instanceof QTensor && norm instanceof Tensor && norm.dtype === 'float16')
  await assert.rejects(
    checkpoint.read('model.nrm.weight'),
    /must be a tensor at "model\.nrm\.weight"; the nearest are model\.norm\.weight/,
  )
})
