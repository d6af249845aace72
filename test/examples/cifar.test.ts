import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '../..')
const data = join(process.env.LOWBIT_DATA ?? join(root, '../shared/data'), 'cifar10')
const models = join(process.env.LOWBIT_MODELS ?? join(root, '../shared/models'), 'cifar10-resnet20')
const missing = [data, models].filter((path) => !existsSync(path))
const absent = missing.length > 0 ? `no ${missing.join(' or ')} (LOWBIT_DATA, LOWBIT_MODELS)` : false

/** Right answers of 200, by weights and activations: what PyTorch and optimum-quanto 0.2.7 give (scripts/cifar_quanto.py). */
const expected: Record<string, number> = {
  'float float': 180,
  'int8 int8': 179,
  'int4 int8': 174,
  'int2 int8': 40,
  'float8 float8': 180,
}

test("ResNet-20 tells as many images apart as quanto's, within one of 200", { skip: absent }, () => {
  const args = ['--conditions=lowbit-source', 'examples/cifar/main.ts', '--epochs', '1']
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const right = new Map<string, number>()
  const rows = stdout.matchAll(/│ (\w+) +│ (\w+) +│ +(\d+ epochs)? +│ [\d.]+ +│ ([\d.]+) % +│ \d+ +│/g)
  for (const [, weights, activations, trained, percent] of rows) {
    right.set(`${weights} ${activations}${trained ? ' trained' : ''}`, 2 * Number(percent))
  }
  for (const [name, count] of Object.entries(expected)) {
    const got = right.get(name)
    assert.ok(got !== undefined && Math.abs(got - count) <= 1, `${name}: ${got}, quanto ${count}`)
  }
  // 1.5 points of 200 images are 3.
  assert.ok(Math.abs((right.get('int8 int8') ?? 0) - (right.get('float float') ?? 0)) <= 3)
  // Two bits tell almost nothing apart before training.
  assert.ok((right.get('int2 int8 trained') ?? 0) > 100, `${right.get('int2 int8 trained')}`)
})
