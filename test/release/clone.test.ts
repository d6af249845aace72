import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, test } from 'node:test'
import { cleanVariables, find, nodeFolder, root, run, systemPath } from './environment.ts'

/*
 * The README's commands on fresh clones: Node 20 and 24, with a C++ compiler and without one.
 * LOWBIT_RELEASE_TESTS=all runs `npm test` on each of them, too; otherwise on one that has no compiler and an
 * old Node.
 */

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
      if (process.env.LOWBIT_RELEASE_TESTS !== 'all' && (compiler || major !== 20)) return
      // The same damaged files, and kernels in WebAssembly, had their turn in `npm test` itself, all of them.
      const fewer = { LOWBIT_FUZZ_CASES: '100', LOWBIT_KERNELS: 'gemm,qmatmul' }
      const tests = run('npm', ['test'], clone, { ...env, ...fewer })
      t.diagnostic(`${label}: npm test: ${tests.trim().split('\n').at(-1)}`)
      assert.match(tests, /^\d+ passed, 0 failed(, \d+ skipped)?$/m)
    })
  }
}

/**
 * An environment whose `node` and `npm` are of that major version; without a compiler, little else is in its
 * PATH.
 */
function environment(major: number, compiler: boolean): NodeJS.ProcessEnv {
  const folder = nodeFolder(major, join(work, `bin-${major}-${compiler}`))
  for (const name of compiler
    ? []
    : ['sh', 'ls', 'git', 'env', 'uname', 'tar', 'gzip', 'mount', 'umount', 'mkfifo', 'df']) {
    const path = find(name)
    if (path) symlinkSync(path, join(folder, name))
  }
  return { ...cleanVariables(), PATH: compiler ? [folder, ...systemPath()].join(delimiter) : folder }
}
