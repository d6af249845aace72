import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { drawImages } from '../../examples/cifar/draw.ts'
import { data, missing, models } from './data.ts'

const root = join(import.meta.dirname, '../..')
const [test200, calibration] = ['test-200.bin', 'calibration-1000.bin'].map((name) =>
  join(data, 'cifar10', name),
)
const weights = join(models, 'cifar10-resnet20/resnet20.safetensors')

/**
 * Right answers of 200, by weights and activations: what PyTorch and optimum-quanto 0.2.7 give
 * (scripts/cifar_quanto.py).
 */
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
    [...rows].map(([, weights, activations, trained, percent]) => [
      `${weights} ${activations}${trained ? ' trained' : ''}`,
      +percent,
    ]),
  )
}

test("ResNet-20 tells as many images apart as quanto's, within one of 200", {
  skip: missing(test200, calibration, weights),
}, () => {
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

test("drawn images: ten classes in CIFAR-10's layout, the same for the same seed, their shapes as large as they are by hand", () => {
  const [count, pixels] = [400, 32 * 32]
  const bytes = drawImages(count, 1)
  assert.equal(bytes.length, count * (1 + 3 * pixels))
  assert.deepEqual(drawImages(count, 1), bytes)
  assert.notDeepEqual(drawImages(count, 2), bytes)
  const bright = new Map<number, number[]>()
  for (let start = 0; start < bytes.length; start += 1 + 3 * pixels) {
    const label = bytes[start]
    const channels = [0, 1, 2].map((channel) =>
      bytes.subarray(start + 1 + channel * pixels, start + 1 + (channel + 1) * pixels),
    )
    const covered = channels[0].filter((red, i) => red + channels[1][i] + channels[2][i] > 1.5 * 255).length
    bright.set(label, [...(bright.get(label) ?? []), covered])
  }
  assert.deepEqual([...bright.keys()].sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  // In units of the size, which is between 8 and 12: discs of radius 0.8, squares of 1.4, frames of 1.5
  // around 0.8. Three pixels of a hundred may err.
  const areas = { 0: Math.PI * 0.8 ** 2, 4: 1.4 ** 2, 5: 1.5 ** 2 - 0.8 ** 2 }
  for (const [label, area] of Object.entries(areas)) {
    for (const covered of bright.get(Number(label)) ?? []) {
      assert.ok(
        covered > 0.97 * 64 * area - 31 && covered < 1.03 * 144 * area + 31,
        `class ${label}: ${covered} pixels`,
      )
    }
  }
})

test('without data the example draws images and trains the network itself', () => {
  const percents = accuracies('--images', '200', '--epochs', '1', '--tune', '1')
  const settings = [
    'float float',
    'int8 int8',
    'int4 int8',
    'int2 int8',
    'int2 int8 trained',
    'float8 float8',
  ]
  assert.deepEqual([...percents.keys()], settings)
})

test('by calibration alone GPTQ tells more images apart than rounding does, and fewer bits are fewer bytes', {
  skip: missing(test200, calibration, weights),
}, () => {
  const files = ['--train', calibration, '--test', test200, '--model', weights]
  const args = ['examples/cifar/calibrated.ts', ...files, '--calibration', '64', '--steps', '0']
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--conditions=lowbit-source', ...args], {
    cwd: root,
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  const lines = stdout.matchAll(/^│ (\w+) +│ (\d+) +│ ([\d.]+) % +│(?: ([\d.]+) % +│)?/gm)
  const rows = new Map([...lines].map(([, name, ...cells]) => [name, cells.map(Number)]))
  const { float, w4a8, w3, w2 } = Object.fromEntries(rows)
  // As PyTorch has it, 180 of 200.
  assert.equal(float[1], 90)
  for (const [bytes, rounded, solved] of [w3, w2]) assert.ok(solved > rounded && bytes < w4a8[0])
  // The peers' 4 bits with activations of 8 tell 174 apart; twice a deviation of such a count is 9.
  assert.ok(w4a8[2] >= 82.5, `${w4a8[2]}`)
  assert.ok(float[0] > 5 * w4a8[0] && w3[0] < w4a8[0] && w2[0] < w3[0])
})
