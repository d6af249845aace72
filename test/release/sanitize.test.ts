import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nativeIsas } from '../../src/devices/cpu/native.ts'
import { root, run } from './environment.ts'

/*
 * Every case of every kernel in the driver, under the sanitizers of the machine's compiler, or with the tasks
 * of each kernel from the last to the first: one kind of these and one instruction set of the machine, by
 * turns of commits, or with LOWBIT_RELEASE_TESTS=all all of them.
 */

const kinds = ['address,undefined', 'thread', 'descending']
/* avxvnni is avx2 but for one kernel. */
const isas = nativeIsas().filter((isa) => isa !== 'avxvnni')
const runs = isas.flatMap((isa) => kinds.map((kind) => ({ isa, kind })))
const turn = Number(run('git', ['rev-list', '--count', 'HEAD'], root)) % runs.length
const chosen = process.env.LOWBIT_RELEASE_TESTS === 'all' ? runs : [runs[turn]]

for (const { isa, kind } of chosen)
  test(`no kernel does what is wrong in memory, arithmetic or threads: ${isa}, ${kind}`, (t) => {
    const said = run(
      process.execPath,
      ['native/sanitize.mjs', kind],
      root,
      { ...process.env, LOWBIT_ISA: isa },
      true,
    )
    t.diagnostic(said.trim())
    assert.match(said, /^[1-9]\d{3,} cases, 0 failures$/m)
  })
