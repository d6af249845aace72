import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { type QType, qfloat8, qint4, qint8, qtypesByCode, valueOfCode } from '../../src/core/qtype.ts'
import { Random } from '../../src/core/random.ts'
import type { Device } from '../../src/devices/device.ts'
import { openDevice } from '../../src/devices/open.ts'
import type { ComputeDType } from '../../src/qtensor/computeDtype.ts'
import { linear } from '../../src/qtensor/linear.ts'
import { lookup } from '../../src/qtensor/lookup.ts'
import type { Block, WeightParts } from '../../src/qtensor/parts.ts'
import { chooseLookup, chooseProduct } from '../../src/qtensor/product.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { scope } from '../../src/tensor/scope.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { deviceNames } from '../deviceNames.ts'
import { kernelsOf } from '../kernelsOf.ts'

const [N, K, M] = [21, 64, 6]
const computeDtypes: readonly ComputeDType[] = [
  'float32',
  'bfloat16',
  'int8',
  'int8PerToken',
  'float8PerToken',
]

/** The kernels that `body` runs, of those that multiply or look up. */
function productsOf(device: Device, body: () => void): string[] {
  const products = /^(gemm|qmatmul|qmatmulInt8|embedding|qembedding|dequantize)$/
  return kernelsOf(device, body).filter((kernel) => products.test(kernel))
}

/** What a way that is chosen is made of. */
const kernelsBehind: Record<string, string[]> = {
  qmatmul: ['qmatmul'],
  qmatmulInt8: ['qmatmulInt8'],
  'dequantize → matmul': ['dequantize', 'gemm'],
  qembedding: ['qembedding'],
  'dequantize → embedding': ['dequantize', 'embedding'],
}

const blocks: Block[] = [
  { kind: 'group', size: K },
  { kind: 'group', size: 32 },
  { kind: 'group', size: 16 },
  { kind: 'run', size: 32 },
  { kind: 'run', size: 48 },
  { kind: 'tile', rows: 8, columns: 32 },
]

/** The block of value n, k among all. */
function blockOf(block: Block, n: number, k: number): number {
  if (block.kind === 'run') return Math.floor((n * K + k) / block.size)
  if (block.kind === 'comb') return (n * K + k) % ((N * K) / block.teeth)
  if (block.kind === 'group') return n * Math.ceil(K / block.size) + Math.floor(k / block.size)
  return Math.floor(n / block.rows) * Math.ceil(K / block.columns) + Math.floor(k / block.columns)
}

for (const name of deviceNames) {
  describe(`products with quantized weights on ${name}`, () => {
    const device = openDevice(name)
    after(() => device.close())

    /** A weight, its columns in another order, and what it stands for, computed here. */
    function weightOf(type: QType, block: Block, offset: 'shift' | 'zeroPoint' | null, ordered: boolean) {
      const random = new Random(type.code)
      const codes = Uint8Array.from({ length: N * K }, () => Math.floor(random.uniform() * 2 ** type.bits))
      // No infinities and no NaN of float8.
      if (type.values === 'float') for (let i = 0; i < codes.length; i++) codes[i] = (codes[i] & 0xbf) | 1
      const count = blockOf(block, N - 1, K - 1) + 1
      const scales = Array.from({ length: count }, (_, i) => (1 + (i % 7)) / type.qmax)
      const offsets = Array.from({ length: count }, (_, i) => (i * 5) % (Math.floor(type.qmax) + 1))
      const order = Int32Array.from({ length: K }, (_, j) => (ordered ? (j * 29 + 3) % K : j))
      const floats = new Float64Array(N * K)
      for (let n = 0; n < N; n++) {
        for (let j = 0; j < K; j++) {
          const b = blockOf(block, n, j)
          const value = valueOfCode(type, codes[n * K + j])
          floats[n * K + order[j]] = Math.fround(scales[b]) * (value - (offset ? offsets[b] : 0))
        }
      }
      const shape =
        block.kind === 'run' ? [count] : block.kind === 'group' ? [N, count / N] : [Math.ceil(N / 8), K / 32]
      const shifts = offsets.map((z, b) => Math.fround(scales[b]) * z)
      const values = {
        shift: () => Tensor.fromNumbers(device, shifts, shape),
        zeroPoint: () => Tensor.fromNumbers(device, offsets, shape, type.dtype),
      }
      const parts: WeightParts = {
        type,
        shape: [N, K],
        dtype: 'float32',
        codes: Tensor.fromArray(device, codes, [N, K]),
        block,
        scale: { values: Tensor.fromNumbers(device, scales, shape) },
        offset: offset && { kind: offset, values: values[offset]() },
        order: ordered ? Tensor.fromArray(device, order) : null,
      }
      return { weight: QTensor.fromParts(parts), floats }
    }

    const inputs = Float32Array.from({ length: M * K }, (_, i) => Math.sin(i))

    async function check(type: QType, block: Block, offset: 'shift' | 'zeroPoint' | null, ordered: boolean) {
      const { weight, floats } = weightOf(type, block, offset, ordered)
      const x = Tensor.fromArray(device, inputs, [M, K])
      // Shifts taken from whole sums round as these do: by their size, not by what is left.
      const largest = Math.max(...floats.map(Math.abs)) * K
      for (const computeDtype of computeDtypes) {
        const made: Tensor[] = []
        const ran = productsOf(device, () => void made.push(linear(x, weight, null, computeDtype)))
        const { kernel } = chooseProduct(weight.facts, null, computeDtype)
        const what = `${type.name} ${JSON.stringify(block)} ${offset} ${computeDtype}`
        assert.deepEqual(
          [...new Set(ran)].filter((name) => kernelsBehind[kernel].includes(name)),
          kernelsBehind[kernel],
          what,
        )
        if (kernel.startsWith('q'))
          assert.deepEqual(
            ran.filter((name) => name !== 'dequantize'),
            [kernel],
            what,
          )
        const y = await made[0].toNumbers()
        // What int8 and float8 round x to: 1/254 of the largest value, and 1/16 of each; bfloat16 x and w to
        // 1/512.
        const rounding = {
          float32: 2 ** -20,
          bfloat16: 1 / 250,
          int8: 1 / 250,
          int8PerToken: 1 / 250,
          float8PerToken: 1 / 16,
        }
        for (let i = 0; i < M * N; i++) {
          const [m, n] = [Math.floor(i / N), i % N]
          let [sum, size] = [0, 0]
          for (let k = 0; k < K; k++) {
            sum += inputs[m * K + k] * floats[n * K + k]
            size += Math.abs(floats[n * K + k])
          }
          const bound =
            rounding[computeDtype as 'int8'] * (computeDtype === 'float32' ? largest : size) +
            2 ** -18 * largest
          assert.ok(Math.abs(y[i] - sum) <= bound, `${what}: y[${i}] is ${y[i]}; expected ${sum}`)
        }
      }
      const ids = Tensor.fromArray(device, Int32Array.of(20, 0, 7))
      const found: Tensor[] = []
      const ran = productsOf(device, () => void found.push(lookup(weight, ids)))
      assert.deepEqual([...new Set(ran)], kernelsBehind[chooseLookup(weight.facts).kernel])
      const rows = await found[0].toNumbers()
      for (const [i, id] of [20, 0, 7].entries())
        for (let k = 0; k < K; k++) {
          const expected = floats[id * K + k]
          assert.ok(Math.abs(rows[i * K + k] - expected) <= 2 ** -20 * Math.max(8, Math.abs(expected)))
        }
      weight.dispose()
    }

    test('bfloat16 rounds x and w, from the fifth row on', async () => {
      const codes = Uint8Array.from({ length: 16 }, (_, k) => (k === 0 ? 1 : 0))
      const weight = QTensor.fromParts({
        type: qint8,
        dtype: 'float32',
        shape: [1, 16],
        codes: Tensor.fromArray(device, codes, [1, 16]),
        block: { kind: 'group', size: 16 },
        scale: { values: Tensor.fromNumbers(device, [259 / 256], [1, 1]) },
        offset: null,
        order: null,
      })
      for (const [rows, expected] of [
        [4, (257 / 256) * (259 / 256)],
        // Ties go to even: 257 / 256 to 1, 259 / 256 to 260 / 256.
        [5, 260 / 256],
      ]) {
        const x = Tensor.fromNumbers(device, Array(rows * 16).fill(257 / 256), [rows, 16])
        assert.deepEqual(
          [...(await linear(x, weight, null, 'bfloat16').toNumbers())],
          Array(rows).fill(expected),
        )
      }
    })

    test('int8PerToken: one scale serves a row of x, whatever the groups of the weight', async () => {
      const parts: WeightParts = {
        type: qint4,
        shape: [1, K],
        dtype: 'float32',
        codes: Tensor.fromArray(device, new Uint8Array(K).fill(2), [1, K]),
        block: { kind: 'group', size: 32 },
        scale: { values: Tensor.full(device, [1, K / 32], 1) },
        offset: { kind: 'zeroPoint', values: Tensor.fromArray(device, new Uint8Array(K / 32), [1, K / 32]) },
        order: null,
      }
      const weight = QTensor.fromParts(parts)
      // The scale is 25.5 / 127.5 = 0.2: of the second group 0.09 becomes 0, and 0.11 becomes 0.2.
      const x = new Float32Array(K).fill(0.09, 32).with(0, 25.4).with(1, -25.5).with(40, 0.11)
      const y = linear(Tensor.fromArray(device, x, [1, K]), weight, null, 'int8PerToken')
      // 127 is the largest code: of 25.4 and of −25.5.
      assert.ok(Math.abs((await y.toNumbers())[0] - 2 * 0.2) < 1e-5)
      weight.dispose()
    })

    test('int8PerToken: rows are rounded whatever multiplies them', async () => {
      // The scale is 25.5 / 127.5 = 0.2, of which 0.09 is less than half.
      const x = new Float32Array(K).fill(0.09).with(0, -25.5)
      for (const block of [
        { kind: 'group', size: K },
        { kind: 'group', size: 8 },
      ] as const) {
        const weight = QTensor.fromParts({
          type: qfloat8,
          shape: [1, K],
          dtype: 'float32',
          // One.
          codes: Tensor.fromArray(device, new Uint8Array(K).fill(0x38), [1, K], 'float8_e4m3fn'),
          block,
          scale: { values: Tensor.full(device, [1, K / block.size], 1) },
        })
        const y = linear(Tensor.fromArray(device, x, [1, K]), weight, null, 'int8PerToken')
        assert.ok(Math.abs((await y.toNumbers())[0] + 127 * 0.2) < 1e-5)
        weight.dispose()
      }
    })

    for (const type of qtypesByCode) {
      test(`${type.name}: what is chosen runs, and gives what the codes stand for`, async () => {
        for (const block of blocks) await check(type, block, type.unsigned ? 'shift' : null, false)
      })
    }

    test('zero points, and columns in another order', async () => {
      for (const block of blocks) {
        for (const type of [qint4, qint8]) await check(type, block, 'zeroPoint', true)
        await check(qfloat8, block, null, true)
      }
    })

    test('what no kernel reads says why', () => {
      const facts = (block: Block) => ({ qtype: qint4, shape: [N, K], block, offset: null })
      const why = (block: Block) => chooseProduct(facts(block), null, 'float32').why
      assert.equal(why({ kind: 'run', size: 48 }), 'its runs of 48 values cross rows of 64')
      assert.equal(why({ kind: 'group', size: 40 }), 'its groups of 40 columns are no multiples of 16')
      assert.equal(
        chooseProduct({ ...facts({ kind: 'group', size: 64 }), qtype: qint8, offset: 'shift' }, null, 'int8')
          .why,
        'qint8 has an offset',
      )
      assert.equal(why({ kind: 'group', size: 64 }), undefined)
    })

    test('a product leaves nothing behind', () => {
      const { weight } = weightOf(qint4, { kind: 'tile', rows: 8, columns: 32 }, 'zeroPoint', true)
      const x = Tensor.fromArray(device, inputs, [M, K])
      const before = device.allocatedBytes
      scope(() => void linear(x, weight))
      assert.equal(device.allocatedBytes, before)
      weight.dispose()
    })
  })
}
