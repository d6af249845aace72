import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'

/*
 * The README's commands on fresh clones: Node 20 and 24, with a C++ compiler and without one.
 * LOWBIT_RELEASE_TESTS=all runs `npm test` on each of them, too; otherwise on one that has no compiler and an old Node.
 */

const root = fileURLToPath(new URL('../..', import.meta.url))
const cache = process.env.LOWBIT_CACHE ?? join(root, '.cache')
const work = mkdtempSync(join(tmpdir(), 'lowbit-release-'))
after(() => rmSync(work, { recursive: true, force: true }))

for (const major of [20, 24]) {
  for (const compiler of [true, false]) {
    const label = `Node ${major} ${compiler ? 'with' : 'without'} a C++ compiler`
    test(`npm ci && npm run quickstart: ${label}`, (t) => {
      const clone = join(work, `${major}-${compiler}`)
      run('git', ['clone', '--quiet', root, clone], root, process.env)
      const env = environment(major, compiler)
      const started = performance.now()
      run('npm', ['ci'], clone, env)
      const output = run('npm', ['run', 'quickstart'], clone, env, true)
      t.diagnostic(`${label}: ${((performance.now() - started) / 1000).toFixed(0)} s\n${output}`)
      assert.match(output, new RegExp(`Node ${major}\\.`), 'on the Node that started npm')
      assert.match(output, compiler ? /lowbit on native/ : /lowbit on wasm/)
      if (!compiler) assert.match(output, /no C\+\+ compiler found; using WebAssembly/)
      const perplexity = (weights: string, embedding: string) =>
        Number(output.match(new RegExp(`^${weights}\\s+${embedding}\\s+\\d+\\s+(\\S+)`, 'm'))?.[1])
      // What optimum-quanto 0.2.7 computes for the same model and text. It does not know quantized embeddings: the last is that of its
      // int4 model with float weights of embedding and head put to what their int8 codes stand for, one scale a row.
      for (const [weights, embedding, expected] of [
        ['float32', 'float32', 5.90237],
        ['int8', 'float32', 5.89771],
        ['int4', 'float32', 6.57953],
        ['int4', 'int8', 6.58493],
      ] as const) {
        const got = perplexity(weights, embedding)
        assert.ok(Math.abs(got - expected) < 0.0011, `${weights} weights, ${embedding} embedding: ${got}, quanto ${expected}`)
      }
      if (process.env.LOWBIT_RELEASE_TESTS !== 'all' && (compiler || major !== 20)) return
      const tests = run('npm', ['test'], clone, env)
      t.diagnostic(`${label}: npm test: ${tests.trim().split('\n').at(-1)}`)
      assert.match(tests, /^\d+ passed, 0 failed$/m)
    })
  }
}

/** An environment whose `node` and `npm` are of that major version; without a compiler, little else is in its PATH. */
function environment(major: number, compiler: boolean): NodeJS.ProcessEnv {
  const folder = join(work, `bin-${major}-${compiler}`)
  mkdirSync(folder)
  symlinkSync(nodeOf(major), join(folder, 'node'))
  const npm = process.env.npm_execpath ?? run('sh', ['-c', 'readlink -f "$(command -v npm)"'], root, process.env).trim()
  writeFileSync(join(folder, 'npm'), `#!/bin/sh\nexec node '${npm}' "$@"\n`)
  chmodSync(join(folder, 'npm'), 0o755)
  for (const name of compiler ? [] : ['sh', 'git', 'env', 'uname', 'tar', 'gzip', 'mount', 'umount', 'mkfifo', 'df']) {
    const path = find(name)
    if (path) symlinkSync(path, join(folder, name))
  }
  // The variables of the npm that runs this test must not reach the one in the clone.
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(npm_(?!config_)|INIT_CWD|NODE_(TEST_CONTEXT|OPTIONS|V8_COVERAGE|CHANNEL_FD)|LOWBIT_|CXX)/.test(name),
    ),
  )
  return { ...clean, PATH: compiler ? [folder, withoutModules()].join(delimiter) : folder }
}

function withoutModules(): string {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .filter((path) => !path.includes('node_modules'))
    .join(delimiter)
}

function find(name: string): string | undefined {
  return withoutModules()
    .split(delimiter)
    .map((path) => join(path, name))
    .find((path) => existsSync(path))
}

/** A Node of that major version, installed from npm into the cache. */
function nodeOf(major: number): string {
  const folder = join(cache, `node-${major}`)
  const binary = join(folder, 'node_modules', 'node', 'bin', 'node')
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, allowScripts: { node: true } }))
    run('npm', ['install', '--no-save', `node@${major}`], folder, process.env)
  }
  return binary
}

/** What a command printed: to stdout, and where `both` is set to stderr, too. */
function run(command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv, both = false): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env, encoding: 'utf8', maxBuffer: 2 ** 26 })
  assert.equal(
    status,
    0,
    `${command} ${args.join(' ')} in ${dirname(cwd)}: ${error?.message ?? ''}\n${stdout?.slice(-6000)}\n${stderr?.slice(-3000)}`,
  )
  return both ? stdout + stderr : stdout
}
