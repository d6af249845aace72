import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, test } from 'node:test'
import { cleanVariables, installTools, nodeFolder, root, run, systemPath } from './environment.ts'
import { publishLocally, type Registry } from './registry.ts'

/*
 * The package as npm would publish it: what its checkers say, and what a user gets who installs it from a
 * registry into an empty folder.
 */

const majors = [20, 22, 24, 26]
const mostBytes = 12e6

const work = mkdtempSync(join(tmpdir(), 'lowbit-package-'))
const app = join(work, 'app')
const installed = join(app, 'node_modules', 'lowbit')
let registry: Registry
/** The README's first code, and the command before it. */
const [, command, code] =
  /```sh\n(.*)\n```[^`]*```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? []

/** The environment of a user with that Node. */
const environments = new Map<number, NodeJS.ProcessEnv>()
function environment(major: number): NodeJS.ProcessEnv {
  const known = environments.get(major)
  if (known) return known
  const folder = nodeFolder(major, join(work, `node-${major}`))
  const made = {
    ...cleanVariables(),
    npm_config_registry: registry.url,
    PATH: [folder, ...systemPath()].join(delimiter),
  }
  environments.set(major, made)
  return made
}

before(async () => {
  registry = await publishLocally(join(work, 'registry'))
  mkdirSync(app)
  assert.equal(command, 'npm install lowbit')
  run('npm', command.split(' ').slice(1), app, environment(24))
})
after(() => {
  registry?.close()
  rmSync(work, { recursive: true, force: true })
})

const tarball = () =>
  join(
    root,
    'build',
    'packages',
    `lowbit-${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version}.tgz`,
  )

test('publint accepts it', () => {
  run('npx', ['--yes', 'publint@0.3', '--strict', tarball()], root)
})

test('attw accepts its types', () => {
  run(
    'npx',
    ['--yes', '@arethetypeswrong/cli@0.18', '--exclude-entrypoints', './models/*', '--', tarball()],
    root,
  )
})

test('it is small, has links, and neither install scripts nor test cases', (t) => {
  const files = filesIn(join(app, 'node_modules'))
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0)
  t.diagnostic(`installed: ${(bytes / 1e6).toFixed(1)} MB`)
  assert.ok(bytes <= mostBytes, `${bytes} bytes`)
  const own = files.filter((file) => file.startsWith(installed))
  assert.deepEqual(
    own.filter((file) => /cases|inputs|definitions|\.map$|(?<!\.d)\.ts$/.test(file)),
    [],
  )
  for (const file of files.filter((file) => file.endsWith('package.json'))) {
    const { scripts } = JSON.parse(readFileSync(file, 'utf8'))
    for (const script of ['preinstall', 'install', 'postinstall'])
      assert.equal(scripts?.[script], undefined, file)
  }
  const { repository, homepage, bugs } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  assert.ok(repository.url && homepage && bugs.url)
})

for (const major of majors) {
  test(`Node ${major}: the README's first code runs twice, native, from a module and through require`, (t) => {
    const env = environment(major)
    writeFileSync(join(app, 'main.mjs'), code)
    for (let time = 1; time <= 2; time++) {
      const output = run('node', ['main.mjs'], app, env, true)
      // 260,032 float32 weights, and quanto's perplexity of the same model and text.
      assert.match(output, /1040128 → \d+ bytes/)
      assert.match(output, /perplexity: 6\.5795/)
      assert.doesNotMatch(output, /WebAssembly/)
    }
    writeFileSync(
      join(app, 'device.cjs'),
      "const lb = require('lowbit'); console.log(process.version, lb.openDevice().name)",
    )
    const said = run('node', ['device.cjs'], app, env, true).trim()
    t.diagnostic(said)
    assert.match(said, new RegExp(`^v${major}\\.\\S+ native \\w+$`))
    assert.match(
      run('node', ['node_modules/lowbit/dist/cli/main.js', '--version'], app, env),
      /^\d+\.\d+\.\d+/,
    )
  })
}

test('the installed addon computes the same with every instruction set of this CPU', (t) => {
  const env = environment(24)
  const [addon] = readdirSync(join(app, 'node_modules', '@lowbit'))
  const isas: string[] = JSON.parse(
    run('node', ['-p', `JSON.stringify(require('@lowbit/${addon}').isas())`], app, env),
  )
  t.diagnostic(`${addon}: ${isas.join(', ')}`)
  assert.ok(isas.length > (process.arch === 'x64' ? 1 : 0))
  for (const isa of isas)
    assert.match(run('node', ['main.mjs'], app, { ...env, LOWBIT_ISA: isa }), /perplexity: 6\.5795/)
})

test('without the addon it says once that it runs on WebAssembly, and writes the same', () => {
  const plain = join(work, 'plain')
  mkdirSync(plain)
  const env = environment(20)
  run('npm', ['install', '--omit=optional', 'lowbit'], plain, env)
  assert.ok(!existsSync(join(plain, 'node_modules', '@lowbit')))
  writeFileSync(
    join(plain, 'main.mjs'),
    `import { freeze, generate, loadCausalLM, quantize, save } from 'lowbit'
     const model = await loadCausalLM('lowbit/models/stories260K')
     quantize(model, { weights: 'int4' })
     freeze(model)
     await save(model, 'small')
     const { text } = await generate(await loadCausalLM('small'), 'Once upon a time, there was a little girl named Lily.', { maxNewTokens: 16, computeDtype: 'float32' })
     console.log(model.device.name, '|', text)`,
  )
  const output = run('node', ['main.mjs'], plain, env, true)
  // The first 16 tokens that transformers and optimum-quanto write with the same weights.
  assert.match(output, /wasm .*\| She loved to play with her toys and put oneat/)
  assert.equal(output.match(/using WebAssembly/g)?.length, 1)
})

/** What TypeScript's versions call the ways to resolve modules; the oldest way is gone in 7. */
const resolutions = [
  { module: 'nodenext', moduleResolution: 'nodenext', files: ['use.mts', 'use.cts'] },
  { module: 'node16', moduleResolution: 'node16', files: ['use.mts', 'use.cts'] },
  { module: 'esnext', moduleResolution: 'bundler', files: ['use.ts'] },
  { module: 'commonjs', moduleResolution: 'node10', files: ['use.ts'], until: 6 },
]

for (const version of [5.4, 5.9, 6, 7]) {
  test(`TypeScript ${version} takes its types, with a browser's library and none of Node's`, () => {
    const use = `import { Linear, loadCausalLM, Module, ops, quantize, type Tensor } from 'lowbit'
      class Net extends Module {
        fc = new Linear(2, 2)
        forward(x: Tensor): Tensor { return ops.relu(this.fc.forward(x)) }
      }
      export async function main(): Promise<string> {
        quantize(new Net(), { weights: 'int4' })
        const model = await loadCausalLM('folder')
        // @ts-expect-error: the types are there, so that this is wrong.
        const wrong: number = model.device.name
        return model.device.name + wrong
      }`
    for (const file of ['use.ts', 'use.mts', 'use.cts']) writeFileSync(join(app, file), use)
    const compiler = join(installTools(), `typescript-${version}`, 'bin', 'tsc')
    for (const { files, until = 7, ...resolution } of resolutions.filter(
      ({ until = 7 }) => version <= until,
    )) {
      // A version that warns of what the next one lacks is told that we know.
      const ignoreDeprecations = version === until ? { ignoreDeprecations: '6.0' } : {}
      for (const skipLibCheck of resolution.module === 'esnext' ? [false, true] : [false]) {
        const options = {
          ...resolution,
          ...ignoreDeprecations,
          skipLibCheck,
          noEmit: true,
          strict: true,
          types: [],
          target: 'es2022',
        }
        const compilerOptions = { ...options, lib: ['es2022', 'dom'] }
        writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
        run(process.execPath, [compiler, '-p', 'tsconfig.json'], app)
      }
    }
  })
}

const bundlers: Record<string, (entry: string, folder: string) => string> = {
  vite: (entry, folder) => `import { build } from 'vite'
    const input = '${entry}'
    await build({ root: '${app}', configFile: false, logLevel: 'error', build: { outDir: '${folder}', rollupOptions: { input } } })`,
  webpack: (entry, folder) => `import webpack from 'webpack'
    const stats = await new Promise((resolve, reject) => webpack(
      { mode: 'production', context: '${app}', entry: '${entry}', output: { path: '${folder}' }, performance: { hints: false } },
      (error, stats) => (error ? reject(error) : resolve(stats))))
    if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString())`,
  esbuild: (entry, folder) => `import { build } from 'esbuild'
    await build({ entryPoints: ['${entry}'], bundle: true, format: 'esm', outdir: '${folder}', logLevel: 'error' })`,
}

for (const [name, script] of Object.entries(bundlers)) {
  test(`${name} bundles it for browsers without configuration`, () => {
    const folder = join(work, `bundle-${name}`)
    const entry = join(app, 'page.js')
    writeFileSync(
      entry,
      "import { loadCausalLM } from 'lowbit'\nloadCausalLM('models/stories260K').then(console.log)",
    )
    // Beside the tools, where their names resolve.
    const file = join(installTools(), '..', `bundle-${name}.mjs`)
    writeFileSync(file, script(entry, folder))
    run(process.execPath, [file], app)
    const made = filesIn(folder).map((path) => path.slice(folder.length))
    assert.ok(
      made.some((path) => path.endsWith('.js')),
      made.join(),
    )
    // esbuild leaves files alone; the README says which to put beside the bundle.
    if (name !== 'esbuild') assert.ok(made.filter((path) => path.endsWith('.wasm')).length === 4, made.join())
  })
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}
