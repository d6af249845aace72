import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { type CalibratedOptions, quantizeCalibrated } from '../../src/models/quantizeCalibrated.ts'
import { exclude, hashOf, importance, samples } from './calibratedModel.ts'

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())
const root = await mkdtemp(join(tmpdir(), 'lowbit-calibrated-'))
after(() => rm(root, { recursive: true }))

/** What a run in a process of its own prints; with `stopAt` it is killed in that block. */
function runChild(resume: string, stopAt?: number): Promise<string[]> {
  const script = new URL('calibratedChild.ts', import.meta.url).pathname
  const args = ['--conditions=lowbit-source', script, resume, ...(stopAt ? [String(stopAt)] : [])]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes
      lines.splice(0, lines.length, ...text.trim().split('\n'))
      if (stopAt && text.includes(`block ${stopAt} `)) setTimeout(() => child.kill('SIGKILL'), 100)
    })
    child.on('error', reject)
    child.on('close', (code, signal) =>
      code === 0 || signal === 'SIGKILL' ? resolve(lines) : reject(new Error(`ended with ${code}`)),
    )
  })
}

test('a run that was killed goes on where it was, to the same bytes', async () => {
  const killed = join(root, 'killed')
  const first = await runChild(killed, 3)
  assert.ok(!first.at(-1)?.startsWith('hash'))
  // A fast machine comes some blocks further before it is killed.
  const [run, ...stages] = (await readdir(killed)).filter((name) => !name.startsWith('.')).sort()
  assert.equal(run, 'run.json')
  assert.ok(stages.length >= 2 && stages.length < 7, `${stages}`)
  for (const [i, stage] of stages.entries()) assert.equal(stage, `stage-000${i + 1}.safetensors`)
  const second = await runChild(killed)
  const model = await loadCausalLM('models/stories260K', { device })
  await quantizeCalibrated(model, { algorithm: importance, data: samples, exclude })
  assert.equal(second.at(-1), `hash ${await hashOf(model)}`)
})

test('a folder of another run is refused, and says in what that was another', async () => {
  const resume = join(root, 'other')
  const run = async (options: Partial<CalibratedOptions> = {}) => {
    const model = await loadCausalLM('models/stories260K', { device })
    const before = new Map(model.namedTensors())
    const include = 'model.layers.0.self_attn.*'
    await quantizeCalibrated(model, {
      algorithm: importance,
      data: samples,
      include,
      blocks: [],
      resume,
      ...options,
    }).finally(() => {
      const now = new Map(model.namedTensors())
      if (Object.keys(options).length > 0) assert.deepEqual(now, before)
      model.dispose()
    })
  }
  await run()
  const refused = (options: Partial<CalibratedOptions>, what: string) =>
    assert.rejects(run(options), {
      name: 'FormatError',
      message: `${resume}: a run goes on with the same model, data and options; it was begun with ${what}`,
    })
  await refused({ data: samples.toReversed() }, 'other data')
  await refused({ algorithm: { ...importance, settings: { bits: 4 } } }, 'other options')
  await refused(
    { data: [[1]], include: 'model.layers.1.*_proj', exclude: '*down*' },
    'other data and other options',
  )
  await assert.rejects(run({ resume: join(resume, 'run.json') }), /every part of the path must be a folder/)
  await writeFile(join(resume, 'run.json'), '{}')
  await assert.rejects(run({ onWarning() {} }), /run\.json: format must be a string/)
})
