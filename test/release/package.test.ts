import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

/* The package as npm would publish it: what its checkers say, and what a user gets who installs it. */

const root = fileURLToPath(new URL('../..', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'lowbit-package-'))
let tarball = ''
after(() => rmSync(work, { recursive: true, force: true }))

before(() => {
  // The last line is the file's name; those before are the build's.
  tarball = join(work, String(run('npm', ['pack', '--silent', '--pack-destination', work], root).trim().split('\n').at(-1)))
})

test('publint accepts it', () => {
  run('npx', ['--yes', 'publint@0.3', '--strict', tarball], root)
})

test('attw accepts its types', () => {
  run('npx', ['--yes', '@arethetypeswrong/cli@0.18', '--profile', 'esm-only', tarball], root)
})

test('installed, it runs the main job, on WebAssembly and without install scripts', (t) => {
  const app = join(work, 'app')
  spawnSync('mkdir', [app])
  writeFileSync(join(app, 'package.json'), '{ "private": true, "type": "module" }')
  run('npm', ['install', '--ignore-scripts', tarball], app)
  writeFileSync(
    join(app, 'main.js'),
    `import { freeze, generate, loadCausalLM, quantize, save } from 'lowbit'
     const model = await loadCausalLM('node_modules/lowbit/models/stories260K')
     quantize(model, { weights: 'int4' })
     freeze(model)
     await save(model, 'small')
     const { text } = await generate(await loadCausalLM('small'), 'Once upon a time, there was a little girl named Lily.', { maxNewTokens: 16, computeDtype: 'float32' })
     console.log(model.device.name, '|', text)`,
  )
  const output = run('node', ['main.js'], app)
  t.diagnostic(output.trim())
  // The first 16 tokens that transformers and optimum-quanto write with the same weights.
  assert.match(output, /\| She loved to play with her toys and put oneat/)
  assert.match(run('npx', ['lowbit', '--version'], app), /^\d+\.\d+\.\d+/)
})

test("the README's first code runs as it stands", () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const code = readme.match(/```ts\n([\s\S]*?)```/)?.[1] ?? ''
  const app = join(work, 'app')
  cpSync(join(app, 'node_modules/lowbit/models'), join(app, 'models'), { recursive: true })
  writeFileSync(join(app, 'readme.js'), code)
  const output = run('node', ['readme.js'], app)
  // 260,032 float32 weights, and quanto's perplexity of the same model and text.
  assert.match(output, /1040128 → \d+ bytes/)
  assert.match(output, /perplexity: 6\.5795/)
})

function run(command: string, args: string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 26 })
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${error?.message ?? ''}\n${stdout?.slice(-4000)}\n${stderr?.slice(-3000)}`)
  return stdout
}
