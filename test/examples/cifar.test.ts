import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { data, missing, models } from './data.ts'

const root = join(import.meta.dirname, '../..')
const [test200, calibration] = ['test-200.bin', 'calibration-1000.bin'].map((name) => join(data, 'cifar10', name))
const weights = join(models, 'cifar10-resnet20/resnet20.safetensors')

/** Right answers of 200, by weights and activations: what PyTorch and optimum-quanto 0.2.7 give (scripts/cifar_quanto.py). */
const expected: Record<string, number> = {
  'float float': 180,
  'int8 int8': 179,
  'int4 int8': 174,
  'int2 int8': 40,
  'float8 float8': 180,
}

/** The percentages that the example prints, by weights and activations. */
function accuracies(...options: string[]): Map<string, number> {
  const args = ['--conditions=lowbit-source', 'examples/cifar/main.ts', ...options]
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const rows = stdout.matchAll(/│ (\w+) +│ (\w+) +│ +(\d+ epochs)? +│ [\d.]+ +│ ([\d.]+) % +│ \d+ +│/g)
  return new Map(
    [...rows].map(([, weights, activations, trained, percent]) => [`${weights} ${activations}${trained ? ' trained' : ''}`, +percent]),
  )
}

test("ResNet-20 tells as many images apart as quanto's, within one of 200", { skip: missing(test200, calibration, weights) }, () => {
  const percents = accuracies('--train', calibration, '--test', test200, '--model', weights, '--tune', '1')
  const right = new Map([...percents].map(([name, percent]) => [name, 2 * percent]))
  for (const [name, count] of Object.entries(expected)) {
    const got = right.get(name)
    assert.ok(got !== undefined && Math.abs(got - count) <= 1, `${name}: ${got}, quanto ${count}`)
  }
  // 1.5 points of 200 images are 3.
  assert.ok(Math.abs((right.get('int8 int8') ?? 0) - (right.get('float float') ?? 0)) <= 3)
  // Two bits tell almost nothing apart before training.
  assert.ok((right.get('int2 int8 trained') ?? 0) > 100, `${right.get('int2 int8 trained')}`)
})
