import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { quantizeCalibrated } from '../../src/models/quantizeCalibrated.ts'
import { exclude, hashOf, importance, samples } from './calibratedModel.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())
const root = await mkdtemp(join(tmpdir(), 'lowbit-scratch-'))
after(() => rm(root, { recursive: true }))

const loaded = () => loadCausalLM('models/stories260K', { device })

test('hidden states in a file give the same bytes as those in memory, and leave no file', async () => {
  const hashes: string[] = []
  // The first sample's states fit, the others go to the file.
  for (const maxBytes of [0, 3000, undefined]) {
    const model = await loaded()
    const options = { algorithm: importance, data: samples, exclude, scratch: { maxBytes, folder: root } }
    await quantizeCalibrated(model, options)
    hashes.push(await hashOf(model))
    model.dispose()
  }
  assert.deepEqual(new Set(hashes).size, 1)
  assert.deepEqual(await readdir(root), [])
})

test('a folder that there is not is refused, and leaves the model as it was', async () => {
  const model = await loaded()
  const before = new Map(model.namedTensors())
  const folder = join(root, 'none')
  await assert.rejects(
    quantizeCalibrated(model, {
      algorithm: importance,
      data: samples,
      exclude,
      scratch: { maxBytes: 0, folder },
    }),
    {
      name: 'FormatError',
      message: `scratch file in ${folder}: the folder must take files; there is none (ENOENT)`,
    },
  )
  assert.deepEqual(new Map(model.namedTensors()), before)
  model.dispose()
})

const isRoot = process.platform === 'linux' && process.getuid?.() === 0
test('a full disk ends the run in one sentence, and leaves the model as it was', {
  skip: !isRoot && 'only root mounts',
}, async () => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'lowbit-test', root])
  const model = await loaded()
  const before = new Map(model.namedTensors())
  try {
    await assert.rejects(
      quantizeCalibrated(model, {
        algorithm: importance,
        data: samples,
        exclude,
        scratch: { maxBytes: 0, folder: root },
      }),
      {
        name: 'FormatError',
        message: `scratch file in ${root}: the disk must have room for what is kept between blocks; it is full (ENOSPC)`,
      },
    )
  } finally {
    execFileSync('umount', [root])
  }
  assert.deepEqual(new Map(model.namedTensors()), before)
  model.dispose()
})
