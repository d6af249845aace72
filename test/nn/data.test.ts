import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { type Image, imageFromBytes, stackImages } from '../../src/nn/data/image.ts'
import { DataLoader, type Dataset } from '../../src/nn/data/loader.ts'
import {
  centerCrop,
  compose,
  crop,
  horizontalFlip,
  normalize,
  randomCrop,
  randomHorizontalFlip,
  resize,
} from '../../src/nn/data/transforms.ts'
import type { OptimizerGolden } from './optimizerGolden.ts'

const golden: OptimizerGolden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../golden/optimizers.json'), 'utf8'),
)
const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

/** The numbers 0 … length − 1. */
const numbers = (length: number): Dataset<number> => ({ length, get: (index) => index })
const collate = (samples: number[]) => samples
const all = async <T>(batches: AsyncIterable<T>) => {
  const list: T[] = []
  for await (const batch of batches) list.push(batch)
  return list
}

describe('DataLoader', () => {
  test('goes through the data in order, the last batch incomplete or left out', async () => {
    const loader = new DataLoader(numbers(7), { batchSize: 3, collate })
    assert.equal(loader.length, 3)
    assert.deepEqual(await all(loader), [[0, 1, 2], [3, 4, 5], [6]])
    const dropping = new DataLoader(numbers(7), { batchSize: 3, dropLast: true, collate })
    assert.equal(dropping.length, 2)
    assert.deepEqual(await all(dropping), [
      [0, 1, 2],
      [3, 4, 5],
    ])
  })

  test('shuffles every pass anew; the same seed gives the same passes', async () => {
    const passes = async (seed: number) => {
      const loader = new DataLoader(numbers(50), { batchSize: 8, shuffle: true, seed, collate })
      return [(await all(loader)).flat(), (await all(loader)).flat()]
    }
    const [first, second] = await passes(1)
    const sorted = (list: number[]) => list.toSorted((a, b) => a - b)
    assert.deepEqual(sorted(first), [...Array(50).keys()])
    assert.deepEqual(sorted(second), [...Array(50).keys()])
    assert.notDeepEqual(first, second)
    assert.deepEqual(await passes(1), [first, second])
    assert.notDeepEqual(await passes(2), [first, second])
  })

  test('every order is equally likely: three samples, 6,000 passes', async () => {
    const loader = new DataLoader(numbers(3), { batchSize: 3, shuffle: true, collate })
    const seen = new Map<string, number>()
    for (let i = 0; i < 6000; i++)
      for await (const batch of loader) seen.set(`${batch}`, (seen.get(`${batch}`) ?? 0) + 1)
    assert.equal(seen.size, 6)
    // 1,000 each; the standard deviation is √(6000 · 1/6 · 5/6) = 29.
    for (const [order, times] of seen)
      assert.ok(Math.abs(times - 1000) < 5 * 29, `${order} came ${times} times`)
  })

  test('waits for samples, and disposes the tensors of a batch when the next is asked for, or none is', async () => {
    const image = (value: number): Image => ({
      data: Float32Array.of(value, value + 1),
      channels: 1,
      height: 1,
      width: 2,
    })
    const dataset = { length: 5, get: async (index: number) => ({ image: image(10 * index), label: index }) }
    const loader = new DataLoader(dataset, { batchSize: 2, collate: stackImages(device, 5) })
    const seen: number[][] = []
    for await (const { x, y } of loader) {
      assert.deepEqual(x.shape, [y.numel, 1, 1, 2])
      assert.equal(device.allocatedBytes, 128, 'one batch')
      seen.push([...(await x.toNumbers()), ...(await y.toNumbers())])
      if (seen.length === 3) break
    }
    assert.deepEqual(seen, [
      [0, 1, 10, 11, 0, 1],
      [20, 21, 30, 31, 2, 3],
      [40, 41, 4],
    ])
    assert.equal(device.allocatedBytes, 0)
  })

  test('refuses what it cannot batch', () => {
    const wrong = (body: () => unknown, message: string) =>
      assert.throws(body, { name: 'ShapeError', message })
    wrong(
      () => new DataLoader(numbers(4), { batchSize: 0, collate }),
      'DataLoader: batchSize must be a whole number, 1 or more; received 0',
    )
    wrong(
      () => new DataLoader(numbers(0), { collate }),
      'DataLoader: the data set must fill a batch of 1; received 0 samples',
    )
    const image = { data: new Float32Array(4), channels: 1, height: 2, width: 2 }
    const stack = stackImages(device, 10)
    wrong(() => stack([{ image, label: 10 }]), 'stackImages: labels must lie in 0..9; received 10 at 0')
    wrong(
      () =>
        stack([
          { image, label: 1 },
          { image: { ...image, height: 1, width: 4 }, label: 1 },
        ]),
      'stackImages: images of a batch must have one shape, [1,2,2]; received [1,1,4]',
    )
  })
})

describe('transforms', () => {
  /** Channel 0 counts from 1 by rows, channel 1 is a hundred more. */
  const counted = (height: number, width: number): Image => {
    const size = height * width
    return {
      data: Float32Array.from({ length: 2 * size }, (_, i) => (i < size ? i + 1 : 101 + i - size)),
      channels: 2,
      height,
      width,
    }
  }
  const rows = ({ data, width }: Image) =>
    Array.from({ length: data.length / width }, (_, r) => [...data.subarray(r * width, (r + 1) * width)])

  for (const { shape, size, x, y } of golden.resized) {
    test(`resize ${shape} to ${size}: as torch interpolates`, () => {
      const [channels, height, width] = shape
      const result = resize(size)({ data: Float32Array.from(x), channels, height, width })
      assert.deepEqual([result.height, result.width], size)
      const largest = Math.max(...x.map(Math.abs))
      // Torch mixes in float32: places to within ε · length, values of two such mixtures.
      const bound = 8 * 2 ** -24 * largest * Math.max(...shape)
      result.data.forEach((value, i) => {
        assert.ok(Math.abs(value - y[i]) <= bound, `${i}: ${value}; expected ${y[i]} ± ${bound}`)
      })
    })
  }

  test('resize to one number keeps the ratio', () => {
    const { height, width } = resize(4)(counted(8, 13))
    assert.deepEqual([height, width], [4, 6])
  })

  test('crop takes zeros beyond the edges', () => {
    assert.deepEqual(rows(crop(counted(2, 3), -1, 1, 3, 4)), [
      [0, 0, 0, 0],
      [2, 3, 0, 0],
      [5, 6, 0, 0],
      [0, 0, 0, 0],
      [102, 103, 0, 0],
      [105, 106, 0, 0],
    ])
    assert.deepEqual(rows(crop(counted(2, 3), 1, -2, 1, 3)), [
      [0, 0, 4],
      [0, 0, 104],
    ])
  })

  test('centerCrop rounds half a pixel to even', () => {
    // 5 − 2 = 3 rows of margin: 1.5 is 2; 7 − 2 = 5 columns: 2.5 is 2 (Python's round).
    assert.deepEqual(rows(centerCrop(2)(counted(5, 7)))[0], [2 * 7 + 3, 2 * 7 + 4])
  })

  test('randomCrop reaches every place, and no other', () => {
    const seen = new Set<number>()
    const cropped = randomCrop(2, { padding: 1, seed: 4 })
    for (let i = 0; i < 400; i++)
      seen.add(
        cropped(counted(2, 2)).data.reduce((place, value, at) => place + (value === 1 ? at + 1 : 0), 0),
      )
    // The corner pixel 1 is at one of four places of the crop, or outside (3 of 9 corners are (1, ·) or (·,
    // 1)).
    assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4])
  })

  test('flips mirror rows; about half of the images', () => {
    assert.deepEqual(rows(horizontalFlip(counted(2, 3))).slice(0, 2), [
      [3, 2, 1],
      [6, 5, 4],
    ])
    const flip = randomHorizontalFlip({ seed: 2 })
    const flipped = Array.from({ length: 1000 }, () => flip(counted(1, 2)).data[0] === 2).filter(
      Boolean,
    ).length
    assert.ok(Math.abs(flipped - 500) < 5 * 16, `${flipped} of 1000`)
  })

  test('bytes become 0 … 1, then normal', () => {
    const transform = compose(horizontalFlip, normalize([0.5, 0.25], [0.5, 0.125]))
    const image = imageFromBytes(Uint8Array.of(0, 255, 51, 102), 2, 1, 2)
    assert.deepEqual(
      [...transform(image).data],
      [1, -1, Math.fround((Math.fround(0.4) - 0.25) * 8), Math.fround((Math.fround(0.2) - 0.25) * 8)],
    )
    assert.throws(() => normalize([0.5], [1])(image), {
      message: 'normalize: mean and std must have 2 values, one a channel; received 1 and 1',
    })
    assert.throws(() => centerCrop(3)(image), {
      message: 'centerCrop: the image must have 3x3 pixels; received 1x2 with padding 0',
    })
    assert.throws(() => resize([0, 3])(image), {
      message: 'resize: size must be a whole number, 1 or more, or [height, width]; received [0,3]',
    })
    assert.throws(() => imageFromBytes(new Uint8Array(3), 1, 2, 2), {
      message: 'imageFromBytes: [1,2,2] must have as many bytes; received 3',
    })
  })
})
