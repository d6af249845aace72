import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { cleanVariables, find, nodeFolder, root, run, systemPath } from './environment.ts'

/*
 * The README's commands on fresh clones: Node 20 and 24, with a C++ compiler and without one. Those of Node
 * 20 build their kernels; Node 24 has just built the same here, for `npm test`, and its clones take them.
 * `npm test` runs without a compiler, a third of its files, by turns of commits. LOWBIT_RELEASE_TESTS=all
 * builds and tests everything on each of them.
 */

const all = process.env.LOWBIT_RELEASE_TESTS === 'all'

/** The tests of one version of Node; each has a file of its own, so that two run at once. */
export function testClones(major: number): void {
  const work = mkdtempSync(join(tmpdir(), 'lowbit-release-'))
  after(() => rmSync(work, { recursive: true, force: true }))
  for (const compiler of [true, false]) {
    const setting = {
      label: `Node ${major} ${compiler ? 'with' : 'without'} a C++ compiler`,
      major,
      compiler,
    }
    const clone = join(work, `${major}-${compiler}`)
    test(`npm ci && npm run quickstart: ${setting.label}`, (t) => {
      run('git', ['clone', '--quiet', root, clone], root, process.env)
      const env = environment(major, compiler, join(work, `bin-${compiler}`))
      if (!all && major === 24) takeKernels(clone, compiler)
      checkQuickstart(t, clone, env, setting)
    })
    if (all || (major === 20 && !compiler))
      test(`npm test: ${setting.label}`, (t) => {
        const env = environment(major, compiler, join(work, `bin-${compiler}-test`))
        if (!all) takeKernels(clone, compiler)
        const tests = all
          ? run('npm', ['test'], clone, env)
          : run('npm', ['test', '--', ...deviceless(clone)], clone, { ...env, ...fewer })
        t.diagnostic(`${setting.label}: npm test: ${tests.trim().split('\n').at(-1)}`)
        assert.match(tests, /^\d+ passed, 0 failed(, \d+ skipped)?$/m)
      })
  }
}

/** The same damaged files, and kernels in WebAssembly, had their turn in `npm test` itself, all of them. */
const fewer = { LOWBIT_FUZZ_CASES: '100', LOWBIT_CONVERSIONS: '16', LOWBIT_KERNELS: 'gemm,qmatmul' }

/**
 * The files of tests that take the device that there is: WebAssembly here. Those that name their devices had
 * it in `npm test` itself. Of these, the turn's third.
 */
function deviceless(clone: string): string[] {
  const turn = Number(run('git', ['rev-list', '--count', 'HEAD'], root)) % 3
  const apart = /^test\/(interop|large|browser|release)\//
  return readdirSync(join(clone, 'test'), { recursive: true, encoding: 'utf8' })
    .map((name) => join('test', name))
    .filter((name) => name.endsWith('.test.ts') && !apart.test(name))
    .filter((name) => !/\b(deviceNames|devices)\.ts'/.test(readFileSync(join(clone, name), 'utf8')))
    .sort()
    .filter((_, index) => index % 3 === turn)
}

/** Copies kernels that are built into a clone; what is not of its sources is built there all the same. */
function takeKernels(clone: string, native: boolean): void {
  const built = native ? /^(native-.*\.o|lowbit.*\.(node|wasm))(\.stamp)?$/ : /\.wasm(\.stamp)?$/
  mkdirSync(join(clone, 'build'), { recursive: true })
  for (const name of readdirSync(join(root, 'build')))
    if (built.test(name)) cpSync(join(root, 'build', name), join(clone, 'build', name))
}

interface Setting {
  label: string
  major: number
  compiler: boolean
}

/** `npm ci && npm run quickstart` say what they ran on, and compute what quanto computes. */
function checkQuickstart(t: TestContext, clone: string, env: NodeJS.ProcessEnv, setting: Setting): void {
  const { label, major, compiler } = setting
  const started = performance.now()
  run('npm', ['ci'], clone, env)
  const output = run('npm', ['run', 'quickstart'], clone, env, true)
  t.diagnostic(`${label}: ${((performance.now() - started) / 1000).toFixed(0)} s\n${output}`)
  assert.match(output, new RegExp(`Node ${major}\\.`), 'on the Node that started npm')
  assert.match(output, compiler ? /lowbit on native/ : /lowbit on wasm/)
  if (!compiler) assert.match(output, /no C\+\+ compiler found; using WebAssembly/)
  const perplexity = (weights: string, embedding: string) =>
    Number(output.match(new RegExp(`^${weights}\\s+${embedding}\\s+\\d+\\s+(\\S+)`, 'm'))?.[1])
  // What optimum-quanto 0.2.7 computes for the same model and text. It does not know quantized
  // embeddings: the last is that of its int4 model with float weights of embedding and head put to what
  // their int8 codes stand for, one scale a row.
  for (const [weights, embedding, expected] of [
    ['float32', 'float32', 5.90237],
    ['int8', 'float32', 5.89771],
    ['int4', 'float32', 6.57953],
    ['int4', 'int8', 6.58493],
  ] as const) {
    const got = perplexity(weights, embedding)
    assert.ok(
      Math.abs(got - expected) < 0.0011,
      `${weights} weights, ${embedding} embedding: ${got}, quanto ${expected}`,
    )
  }
}

/**
 * An environment whose `node` and `npm` are of that major version, in `folder`; without a compiler, little
 * else is in its PATH.
 */
function environment(major: number, compiler: boolean, folder: string): NodeJS.ProcessEnv {
  nodeFolder(major, folder)
  for (const name of compiler
    ? []
    : ['sh', 'ls', 'git', 'env', 'uname', 'tar', 'gzip', 'mount', 'umount', 'mkfifo', 'df']) {
    const path = find(name)
    if (path) symlinkSync(path, join(folder, name))
  }
  return { ...cleanVariables(), PATH: compiler ? [folder, ...systemPath()].join(delimiter) : folder }
}
