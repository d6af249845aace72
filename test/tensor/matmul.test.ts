import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { Random } from '../../src/core/random.ts'
import { numel, type Shape } from '../../src/core/shape.ts'
import { openDevice } from '../../src/devices/open.ts'
import { gemm as defineGemm } from '../../src/kernels/matmul/gemm/gemm.ts'
import { matmul, matmulTransposed } from '../../src/tensor/ops/index.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { checkBilinear, type Values } from './bilinear.ts'
import { goldenValues } from './goldenValues.ts'

const devices = [openDevice('cpu', { threads: 2 }), openDevice('wasm', { threads: 1 })]
after(() => Promise.all(devices.map((device) => device.close())))

const random = new Random(7)
const normals = (shape: Shape): Values => ({
  shape,
  values: Float32Array.from({ length: numel(shape) }, () => random.normal()),
})

type Product = [
  batch: number,
  aBatch: number,
  bBatch: number,
  M: number,
  N: number,
  K: number,
  aTransposed: number,
  bTransposed: number,
]

/** The kernel's definition in float64 throughout. */
function product(
  a: Float64Array,
  b: Float64Array,
  bias: Float64Array | null,
  ...sizes: Product
): Float64Array {
  const [batch, , , M, N] = sizes
  const y = new Float64Array(batch * M * N)
  const define = defineGemm as unknown as (...args: unknown[]) => void
  define(a, b, 0, bias, y, ...sizes)
  return y
}

for (const device of devices) {
  test(`${device.name}: linear, y = x·wᵀ + b and its gradients, as PyTorch's`, async () => {
    const expected = await goldenValues('linear')
    await checkBilinear(device, {
      inputs: { x: expected('in.x'), w: expected('in.w'), b: expected('in.b') },
      gradOut: expected('grad_out').values,
      forward: ({ x, w, b }) => matmulTransposed(x, w, b),
      define: (x, w, b) => product(x, w, b, 1, 1, 1, 10, 6, x.length / 10, 0, 1),
      expected: (key) => expected(key).values,
      golden: 'linear',
    })
  })

  for (const [name, sizes] of [
    ['matmul', (K: number): Product => [1, 1, 1, 5, 6, K, 0, 0]],
    ['matmul_batched', (K: number): Product => [6, 6, 3, 4, 6, K, 0, 0]],
  ] as const) {
    test(`${device.name}: ${name}, y = a·b and its gradients, as PyTorch's`, async () => {
      const expected = await goldenValues(name)
      const a = expected('in.a')
      await checkBilinear(device, {
        inputs: { a, b: expected('in.b') },
        gradOut: expected('grad_out').values,
        forward: ({ a, b }) => matmul(a, b),
        define: (x, w) => product(x, w, null, ...sizes(a.shape.at(-1) ?? 0)),
        expected: (key) => expected(key).values,
        golden: name,
      })
    })
  }

  test(`${device.name}: sizes of several tiles and panels`, async () => {
    const [M, N, K] = [14, 67, 5]
    await checkBilinear(device, {
      inputs: { x: normals([2, M / 2, K]), w: normals([N, K]), b: normals([N]) },
      gradOut: normals([M * N]).values,
      forward: ({ x, w, b }) => matmulTransposed(x, w, b),
      define: (x, w, b) => product(x, w, b, 1, 1, 1, M, N, K, 0, 1),
    })
  })

  for (const [a, b, outer] of [
    [
      [2, 1, 3],
      [4, 3],
      [2, 4, 3],
    ],
    [
      [1, 1],
      [2, 3],
      [2, 3],
    ],
    [[3], [], [3]],
    [[], [2, 2], [2, 2]],
    [
      [2, 1],
      [1, 3],
      [2, 3],
    ],
  ]) {
    test(`${device.name}: dimensions [${a}] and [${b}] before the matrices broadcast to [${outer}]`, async () => {
      const [M, N, K] = [2, 4, 3]
      await checkBilinear(device, {
        inputs: { a: normals([...a, M, K]), b: normals([...b, K, N]) },
        gradOut: normals([...outer, M, N]).values,
        forward: ({ a, b }) => matmul(a, b),
        define: (x, w) => {
          const pick = (values: Float64Array, shape: number[], at: number[], size: number) => {
            let index = 0
            for (const [axis, length] of shape.entries())
              index = index * length + (length === 1 ? 0 : at[at.length - shape.length + axis])
            return values.subarray(index * size, (index + 1) * size)
          }
          const parts: number[] = []
          for (let i = 0; i < numel(outer); i++) {
            const at = outer.map((length, axis) => Math.floor(i / numel(outer.slice(axis + 1))) % length)
            parts.push(...product(pick(x, a, at, M * K), pick(w, b, at, K * N), null, 1, 1, 1, M, N, K, 0, 0))
          }
          return Float64Array.from(parts)
        },
      })
    })
  }

  test(`${device.name}: empty factors`, async () => {
    for (const [x, w, shape] of [
      [
        [0, 3],
        [2, 3],
        [0, 2],
      ],
      [
        [2, 3],
        [0, 3],
        [2, 0],
      ],
    ]) {
      const tensors = [x, w].map((sizes) => Tensor.empty(device, sizes))
      const y = matmulTransposed(tensors[0], tensors[1])
      assert.deepEqual(y.shape, shape)
      for (const tensor of [...tensors, y]) tensor.dispose()
    }
    // A sum of nothing is 0.
    const [a, b] = [Tensor.empty(device, [2, 0]), Tensor.empty(device, [0, 3])]
    const y = matmul(a, b)
    assert.deepEqual([...(await y.toNumbers())], [0, 0, 0, 0, 0, 0])
    for (const tensor of [a, b, y]) tensor.dispose()
  })

  test(`${device.name}: vectors are rows on the left and columns on the right, as in PyTorch`, async () => {
    const a = Tensor.fromNumbers(device, [1, 2, 3, 4], [2, 2])
    const b = Tensor.fromNumbers(device, [5, 6], [2])
    const stack = Tensor.fromNumbers(device, [1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2])
    const expected: [Tensor, number[], Shape][] = [
      // [1·5 + 2·6, 3·5 + 4·6]; [5·1 + 6·3, 5·2 + 6·4]; 5·5 + 6·6
      [matmul(a, b), [17, 39], [2]],
      [matmul(b, a), [23, 34], [2]],
      [matmul(b, b), [61], []],
      [matmul(stack, b), [17, 39, 61, 83], [2, 2]],
    ]
    for (const [y, values, shape] of expected) {
      assert.deepEqual(y.shape, shape)
      assert.deepEqual([...(await y.toNumbers())], values)
      y.dispose()
    }
    assert.throws(() => matmul(a, Tensor.empty(device, [3])), /matmul: columns of a must equal rows of b/)
  })

  test(`${device.name}: a square product is a · b, not a · bᵀ`, async () => {
    const a = Tensor.fromNumbers(device, [1, 2, 3, 4], [2, 2])
    const b = Tensor.fromNumbers(device, [0, 1, 0, 0], [2, 2])
    assert.deepEqual([...(await matmul(a, b).toNumbers())], [0, 1, 0, 3])
    assert.deepEqual([...(await matmulTransposed(a, b).toNumbers())], [2, 0, 4, 0])
  })

  test(`${device.name}: factors that do not fit are refused`, () => {
    const [a, b] = [Tensor.empty(device, [2, 2, 3]), Tensor.empty(device, [3, 3, 4])]
    assert.throws(() => matmul(a, b), {
      name: 'ShapeError',
      message: 'matmul: sizes must be equal or 1 along every axis; received [2] and [3]',
    })
    for (const tensor of [a, b]) tensor.dispose()
  })
}
