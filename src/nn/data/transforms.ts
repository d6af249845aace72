/** What is done to images before they are stacked: functions that make an image of an image. */

import { ShapeError } from '../../core/errors.ts'
import {
  aFunction,
  aNumber,
  check,
  checkEach,
  either,
  isObject,
  type Kind,
  listOf,
  wholeNumber,
  within,
} from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { Random } from '../../core/random.ts'
import type { Image } from './image.ts'

/** From one image to another; the one it takes is left as it is. */
export type Transform = (image: Image) => Image

/** Where an image may be cut. */
export interface RandomCropOptions {
  /** Zeros around the image; default 0. */
  padding?: number
  seed?: number
}

/** How often an image is mirrored. */
export interface RandomFlipOptions {
  /** How often it mirrors; default 0.5. */
  p?: number
  seed?: number
}

const cropKinds: OptionKinds<RandomCropOptions> = { padding: wholeNumber(0), seed: wholeNumber(-Infinity) }
const flipKinds: OptionKinds<RandomFlipOptions> = { p: within(0, 1), seed: wholeNumber(-Infinity) }
const imageSize = wholeNumber(1)
const anImage: Kind = {
  must: 'be an image',
  holds: (value) => isObject(value) && value.data instanceof Float32Array,
}

/** One after the other. */
export function compose(...transforms: readonly Transform[]): Transform {
  for (const [i, transform] of transforms.entries()) check('compose', `transform ${i}`, transform, aFunction)
  return (image) => transforms.reduce((result, transform) => transform(result), image)
}

/**
 * (x − mean) / std, channel by channel.
 * @throws ShapeError if there is not one mean and deviation a channel
 */
export function normalize(mean: readonly number[], std: readonly number[]): Transform {
  checkEach('normalize', { mean, std }, listOf('numbers', aNumber))
  return ({ data, channels, height, width }) => {
    if (mean.length !== channels || std.length !== channels)
      throw new ShapeError(
        `normalize: mean and std must have ${channels} values, one a channel; received ${mean.length} and ${std.length}`,
      )
    const size = height * width
    const result = new Float32Array(data.length)
    for (let c = 0; c < channels; c++) {
      for (let i = c * size; i < (c + 1) * size; i++) result[i] = (data[i] - mean[c]) / std[c]
    }
    return { data: result, channels, height, width }
  }
}

/**
 * The part of an image of `height` rows and `width` columns whose corner is at (top, left); zeros where it
 * reaches over the edge.
 */
export function crop(image: Image, top: number, left: number, height: number, width: number): Image {
  check('crop', 'image', image, anImage)
  checkEach('crop', { top, left }, wholeNumber(-Infinity))
  checkEach('crop', { height, width }, imageSize)
  const { data, channels } = image
  const result = new Float32Array(channels * height * width)
  const first = Math.max(0, -left)
  const last = Math.min(width, image.width - left)
  for (let c = 0; c < channels; c++) {
    for (let row = 0; row < height; row++) {
      const y = top + row
      if (y < 0 || y >= image.height || first >= last) continue
      const from = (c * image.height + y) * image.width + left
      result.set(data.subarray(from + first, from + last), (c * height + row) * width + first)
    }
  }
  return { data: result, channels, height, width }
}

/**
 * The middle `size` × `size` pixels; where the margin is odd its half is rounded to even, as torchvision
 * does.
 * @throws ShapeError if the image is smaller
 */
export function centerCrop(size: number): Transform {
  check('centerCrop', 'size', size, imageSize)
  return (image) => {
    checkSize('centerCrop', image, size, 0)
    const middle = (length: number) => {
      const half = (length - size) / 2
      const below = Math.floor(half)
      return Number.isInteger(half) || below % 2 === 0 ? below : below + 1
    }
    return crop(image, middle(image.height), middle(image.width), size, size)
  }
}

/**
 * `size` × `size` pixels from anywhere in the image with `padding` zeros around it.
 * @throws ShapeError if that is smaller
 */
export function randomCrop(size: number, options: RandomCropOptions = {}): Transform {
  check('randomCrop', 'size', size, imageSize)
  checkOptions('randomCrop', options, cropKinds)
  const { padding = 0, seed = 0 } = options
  const random = new Random(seed)
  return (image) => {
    checkSize('randomCrop', image, size, padding)
    const place = (length: number) =>
      Math.floor(random.uniform() * (length + 2 * padding - size + 1)) - padding
    const top = place(image.height)
    return crop(image, top, place(image.width), size, size)
  }
}

function checkSize(transform: string, { height, width }: Image, size: number, padding: number): void {
  if (Math.min(height, width) + 2 * padding < size)
    throw new ShapeError(
      `${transform}: the image must have ${size}x${size} pixels; received ${height}x${width} with padding ${padding}`,
    )
}

/** Mirrors left and right with probability `p` (default 0.5). */
export function randomHorizontalFlip(options: RandomFlipOptions = {}): Transform {
  checkOptions('randomHorizontalFlip', options, flipKinds)
  const { p = 0.5, seed = 0 } = options
  const random = new Random(seed)
  return (image) => (random.uniform() < p ? horizontalFlip(image) : image)
}

/** Mirrored left and right. */
export function horizontalFlip(image: Image): Image {
  check('horizontalFlip', 'image', image, anImage)
  const { data, ...shape } = image
  const { width } = shape
  const result = new Float32Array(data.length)
  for (let i = 0; i < data.length; i++) result[i] = data[i - (i % width) + width - 1 - (i % width)]
  return { data: result, ...shape }
}

/**
 * Scales to [height, width], or the shorter side to a size: each pixel is mixed from the four around its
 * place in the image, pixels counted by their middles. Shrinking takes no mean over more, as torchvision's
 * Resize with antialias=False.
 * Source: torch.nn.functional.interpolate, mode bilinear, align_corners=False.
 */
export function resize(size: number | readonly [height: number, width: number]): Transform {
  check(
    'resize',
    'size',
    size,
    either('be a whole number, 1 or more, or [height, width]', imageSize, listOf('sizes', imageSize, 2)),
  )
  return (image) => {
    const { data, channels } = image
    const [height, width] = targetSize(image, size)
    const rows = sources(image.height, height)
    const columns = sources(image.width, width)
    const result = new Float32Array(channels * height * width)
    let at = 0
    for (let c = 0; c < channels; c++) {
      for (const y of rows) {
        const [upper, lower] = [y.low, y.high].map((row) => (c * image.height + row) * image.width)
        for (const x of columns) {
          const above = data[upper + x.low] * (1 - x.part) + data[upper + x.high] * x.part
          const below = data[lower + x.low] * (1 - x.part) + data[lower + x.high] * x.part
          result[at++] = above * (1 - y.part) + below * y.part
        }
      }
    }
    return { data: result, channels, height, width }
  }
}

function targetSize(
  { height, width }: Image,
  size: number | readonly [number, number],
): readonly [number, number] {
  const target = typeof size === 'number' ? shorterSide(height, width, size) : size
  if (!target.every((length) => Number.isInteger(length) && length > 0))
    throw new ShapeError(`resize: sizes must be positive integers; received ${size}`)
  return target
}

function shorterSide(height: number, width: number, size: number): [number, number] {
  return height <= width
    ? [size, Math.trunc((size * width) / height)]
    : [Math.trunc((size * height) / width), size]
}

/** For each of `count` pixels the two of `length` between which it lies, and how near the second is. */
function sources(length: number, count: number): { low: number; high: number; part: number }[] {
  return Array.from({ length: count }, (_, i) => {
    const place = Math.max(0, ((i + 0.5) * length) / count - 0.5)
    const low = Math.min(Math.floor(place), length - 1)
    return { low, high: Math.min(low + 1, length - 1), part: place - low }
  })
}
