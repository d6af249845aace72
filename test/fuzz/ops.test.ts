import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { DeviceError, DTypeError, ShapeError } from '../../src/core/errors.ts'
import { openDevice } from '../../src/devices/open.ts'
import {
  avgPool2d,
  concat,
  conv2d,
  expand,
  flatten,
  maxPool2d,
  pad,
  permute,
  slice,
  split,
  stack,
} from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'

/*
 * Operations on any shape with any arguments: a tensor whose values are some of the input's, or one of three
 * errors; nothing stays allocated. The input counts from 1, so that whatever was read beside it shows.
 */

const cases = Number(process.env.LOWBIT_FUZZ_CASES ?? 200)
const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

const anyShape = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 5 })
const imageShape = fc.tuple(...[2, 2, 5, 5].map((max) => fc.integer({ min: 1, max })))
const shape: fc.Arbitrary<number[]> = fc.oneof(anyShape, imageShape)
/** What users pass, and what they should not. */
const number = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 3 }) },
  { weight: 2, arbitrary: fc.integer({ min: -3, max: 6 }) },
  fc.constantFrom(0.5, 1.5, NaN, Infinity, -Infinity, 2 ** 31),
)
const numbers = fc.array(number, { maxLength: 5 })

interface Call {
  x: Tensor
  a: number
  b: number
  c: number
  list: number[]
}

/**
 * Operations, and the values that they may give beside those of x: 0 where they fill, any up to a largest
 * where they add.
 */
const operations: Record<string, { run: (call: Call) => Tensor | Tensor[]; least?: 0 | 1; sums?: boolean }> =
  {
    view: { run: ({ x, list }) => x.view(list) },
    rows: { run: ({ x, a, b }) => x.rows(a, b) },
    permute: { run: ({ x, list }) => permute(x, list) },
    slice: { run: ({ x, a, b, c, list }) => slice(x, a, b, c, list[0]) },
    concat: { run: ({ x, a }) => concat([x, x], a) },
    split: { run: ({ x, a, list }) => split(x, list.length > 2 ? list : a, list[0]) },
    stack: { run: ({ x, a }) => stack([x, x], a) },
    flatten: { run: ({ x, a, b }) => flatten(x, a, b) },
    expand: {
      run: ({ x, list }) =>
        expand(
          x,
          list.filter((size) => !(size > 6)),
        ),
    },
    pad: { run: ({ x, a, b, c }) => pad(x, [a, b, c, a]), least: 0 },
    'pad by reflection': { run: ({ x, a, b, c }) => pad(x, [a, b, c, a], 'reflect') },
    maxPool2d: { run: ({ x, a, b, c }) => maxPool2d(x, a, { stride: b, padding: c, dilation: 1 }) },
    'maxPool2d, dilated': {
      run: ({ x, a, b, c }) => maxPool2d(x, [a, 1], { stride: 1, dilation: b, ceilMode: c > 1 }),
    },
    avgPool2d: { run: ({ x, a, b, c }) => avgPool2d(x, a, { stride: b, padding: c }), least: 0, sums: true },
    conv2d: {
      run: ({ x, a, b, c, list }) => {
        const w = Tensor.full(device, [2, x.shape[1] ?? 1, 2, 2], 1)
        return conv2d(x, w, null, { stride: a, padding: b, dilation: c, groups: list[0] ?? 1 })
      },
      least: 0,
      sums: true,
    },
  }

for (const [name, { run, least = 1, sums = false }] of Object.entries(operations)) {
  test(`${cases} calls of ${name}`, async (t) => {
    let computed = 0
    await fc.assert(
      fc.asyncProperty(shape, number, number, number, numbers, async (sizes, a, b, c, list) => {
        const before = device.allocatedBytes
        const count = sizes.reduce((product, size) => product * size, 1)
        const x = Tensor.fromNumbers(
          device,
          Float32Array.from({ length: count }, (_, i) => i + 1),
          sizes,
        )
        try {
          for (const y of scope(() => [run({ x, a, b, c, list })].flat())) {
            const values = await y.toNumbers()
            assert.equal(values.length, y.numel)
            const most = sums ? (count * (count + 1)) / 2 : count
            const strange = values.find(
              (value) => !(value >= least && value <= most && (sums || Number.isInteger(value))),
            )
            assert.equal(strange, undefined, `${y} of ${x} holds ${strange}`)
            y.dispose()
          }
          computed++
        } catch (error) {
          if (!(error instanceof ShapeError || error instanceof DTypeError || error instanceof DeviceError))
            throw error
        }
        x.dispose()
        assert.equal(device.allocatedBytes, before, 'nothing stays allocated')
      }),
      { numRuns: cases },
    )
    t.diagnostic(`${computed} computed`)
    assert.ok(computed > 0, 'some calls are right')
  })
}
