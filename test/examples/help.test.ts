import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '../..')

function example(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['scripts/example.mjs', ...args], { cwd: root, encoding: 'utf8' })
}

const names = [...example().stdout.matchAll(/^npm run example (\S+) /gm)].map(([, name]) => name)

test('every example is listed', () => {
  // What lies beside them is what they import.
  const parts = [
    'options',
    'texts',
    'browser/',
    'cifar/cifar',
    'cifar/copies',
    'cifar/draw',
    'cifar/resnet20',
    'cifar/training',
    'mnist/mnist',
    'mnist/models',
    'mnist/workflow',
  ]
  const files = readdirSync(join(root, 'examples'), { recursive: true }).map((name) =>
    String(name).replaceAll('\\', '/'),
  )
  const scripts = files.filter((name) => /\.(ts|mjs)$/.test(name)).map((name) => name.replace(/\.\w+$/, ''))
  const alone = scripts.filter(
    (name) => !parts.some((part) => name === part || (part.endsWith('/') && name.startsWith(part))),
  )
  assert.deepEqual(names.filter((name) => !name.startsWith('browser/')).sort(), alone.sort())
})

for (const name of names) {
  test(`${name} --help says what it does, and a stray option what is wrong`, () => {
    const { status, stdout } = example(name, '--help')
    assert.equal(status, 0)
    assert.match(stdout, new RegExp(`^(npm run example |node examples/)${name}`))
    assert.match(stdout, /--help +print this|--json +print the rows/)
    if (name === 'quickstart') return
    const stray = example(name, '--no-such-option')
    assert.equal(stray.status, 1)
    assert.match(stray.stderr, new RegExp(`^${name}: Unknown option '--no-such-option'`))
    assert.doesNotMatch(stray.stderr, /^ +at /m)
  })
}

test('values are checked', () => {
  assert.match(
    example('toy-linear', '--runs=many').stderr,
    /^toy-linear: --runs must be a number; received many\n/,
  )
  assert.match(
    example('mnist/mlp', '--weights', 'int3').stderr,
    /^mnist\/mlp: --weights must be one of int8, int4, int2, float8; received int3\n/,
  )
  assert.match(
    example('mnist/cnn', '--data', 'nowhere').stderr,
    /there is no nowhere\. "npm run examples:data" brings it/,
  )
  assert.match(
    example('nothing').stderr,
    /^example: the name must be one of quickstart, .*; received nothing\n/,
  )
})
