import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals } from '../../inputs.ts'
import { conv2d } from './conv2d.ts'
import type { ConvSizes } from './sizes.ts'

/** A convolution to be tried; what is left out is 1, or 0 for padding. */
interface Conv {
  batch?: number
  channels: [inChannels: number, outChannels: number]
  image: [height: number, width: number]
  kernel: [height: number, width: number]
  stride?: [height: number, width: number]
  padding?: [height: number, width: number]
  dilation?: [height: number, width: number]
  groups?: number
}

/** A convolution's name and sizes. */
export interface SizedConv {
  name: string
  sizes: ConvSizes
  /** Values of x, w and y. */
  counts: [x: number, w: number, y: number]
  operations: number
}

/** Names it, and counts what its sizes make. */
export function sized({
  batch = 1,
  channels,
  image,
  kernel,
  stride = [1, 1],
  padding = [0, 0],
  dilation = [1, 1],
  groups = 1,
}: Conv): SizedConv {
  const out = [0, 1].map((axis) => {
    return (
      Math.floor((image[axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis]) +
      1
    )
  })
  const parts: [string, number[]][] = [
    ['stride', stride],
    ['padding', padding],
    ['dilation', dilation],
  ]
  const extras = parts.filter(([name, sizes]) => sizes.some((size) => size !== (name === 'padding' ? 0 : 1)))
  const name = [
    `batch ${batch} ${channels.join('→')} of ${image.join('×')} kernel ${kernel.join('×')}`,
    ...extras.map(([part, sizes]) => `${part} ${sizes.join('×')}`),
    ...(groups > 1 ? [`groups ${groups}`] : []),
  ].join(' ')
  const y = batch * channels[1] * out[0] * out[1]
  const w = (channels[1] * channels[0] * kernel[0] * kernel[1]) / groups
  return {
    name,
    sizes: [
      batch,
      channels[0],
      ...image,
      channels[1],
      out[0],
      out[1],
      ...kernel,
      ...stride,
      ...padding,
      ...dilation,
      groups,
    ],
    counts: [batch * channels[0] * image[0] * image[1], w, y],
    operations: (2 * y * w) / channels[1],
  }
}

/**
 * Runs of every length, borders wider than the image, strides with idle pixels, groups, several blocks,
 * panels and stretches; of tiles, too, that overlap the image's end.
 */
export const convs: SizedConv[] = [
  { channels: [1, 1], image: [1, 1], kernel: [1, 1] },
  { channels: [3, 5], image: [7, 9], kernel: [3, 3], padding: [1, 1], batch: 2 },
  { channels: [3, 5], image: [7, 9], kernel: [3, 3], stride: [2, 2], padding: [1, 1], batch: 2 },
  {
    channels: [4, 6],
    image: [8, 7],
    kernel: [3, 2],
    stride: [1, 2],
    padding: [2, 1],
    dilation: [2, 1],
    groups: 2,
  },
  { channels: [5, 5], image: [6, 6], kernel: [3, 3], padding: [1, 1], groups: 5, batch: 2 },
  { channels: [3, 6], image: [11, 40], kernel: [5, 3], stride: [3, 2], groups: 3, dilation: [1, 3] },
  { channels: [2, 3], image: [2, 3], kernel: [5, 5], padding: [4, 3] },
  { channels: [7, 9], image: [6, 5], kernel: [1, 1], stride: [2, 3], batch: 3 },
  { channels: [2, 2], image: [5, 70], kernel: [3, 3], padding: [1, 1] },
  { channels: [3, 4], image: [1, 33], kernel: [1, 5], stride: [1, 4], padding: [0, 2], batch: 3 },
  { channels: [40, 70], image: [4, 4], kernel: [3, 3], padding: [1, 1], batch: 9 },
  { channels: [30, 13], image: [17, 19], kernel: [3, 3], stride: [2, 2], batch: 2 },
  { channels: [3, 530], image: [5, 5], kernel: [2, 2], batch: 2 },
  { channels: [65, 34], image: [3, 3], kernel: [3, 3], padding: [1, 1], batch: 64 },
  { channels: [34, 66], image: [7, 9], kernel: [3, 3], padding: [1, 1], batch: 3 },
  { channels: [130, 33], image: [5, 8], kernel: [3, 3], padding: [1, 0], batch: 2 },
  { channels: [64, 66], image: [4, 7], kernel: [3, 3], padding: [1, 1], batch: 2 },
  { channels: [6, 6], image: [9, 21], kernel: [3, 3], padding: [1, 1], groups: 6, batch: 2 },
  { channels: [5, 5], image: [12, 39], kernel: [3, 3], stride: [2, 2], padding: [1, 1], groups: 5 },
  { channels: [3, 3], image: [6, 70], kernel: [5, 4], stride: [1, 2], padding: [2, 1], groups: 3 },
  { channels: [2, 2], image: [11, 40], kernel: [5, 3], stride: [3, 3], groups: 2, dilation: [1, 3] },
  { channels: [4, 4], image: [2, 3], kernel: [5, 5], padding: [4, 3], groups: 4 },
].map((conv) => sized(conv as Conv))

/** Layers of ResNet-18 on CIFAR with a batch of 64, one with a stride, and a depthwise one. */
export const convBenchmarks: SizedConv[] = [
  { batch: 64, channels: [64, 64], image: [32, 32], kernel: [3, 3], padding: [1, 1] },
  { batch: 64, channels: [128, 128], image: [16, 16], kernel: [3, 3], padding: [1, 1] },
  { batch: 64, channels: [256, 256], image: [8, 8], kernel: [3, 3], padding: [1, 1] },
  { batch: 64, channels: [512, 512], image: [4, 4], kernel: [3, 3], padding: [1, 1] },
  { batch: 64, channels: [64, 128], image: [32, 32], kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
  { batch: 64, channels: [64, 128], image: [32, 32], kernel: [1, 1], stride: [2, 2] },
  { batch: 64, channels: [3, 64], image: [32, 32], kernel: [3, 3], padding: [1, 1] },
  { batch: 64, channels: [128, 128], image: [16, 16], kernel: [3, 3], padding: [1, 1], groups: 128 },
].map((conv) => sized(conv as Conv))

/** 4·ε·Σ|a·b| for each sum: what a definition makes of the absolute values; errors have random signs. */
export function sumTolerance(
  define: (...args: never[]) => void,
  args: readonly KernelArg[],
  output: number,
): Float64Array {
  const y = new Float32Array((args[output] as Float32Array).length)
  const magnitudes = args.map((arg) => (arg instanceof Float32Array ? arg.map(Math.abs) : arg))
  define(...(magnitudes.with(output, y) as never[]))
  return Float64Array.from(y, (value) => 4 * epsilon * value)
}

/**
 * Two factors of a convolution, in the order of the kernel, that must each be read with all its bits and at
 * its place.
 */
export function convDefects(args: readonly KernelArg[]): NonNullable<KernelCase['defects']> {
  const first = args.findIndex((arg) => typeof arg === 'number')
  return {
    'first factor rounded to bfloat16': ([a, ...rest]) => [inBfloat16(a as Float32Array), ...rest],
    'second factor rounded to bfloat16': ([a, b, ...rest]) => [a, inBfloat16(b as Float32Array), ...rest],
    ...((args[0] as Float32Array).length > 1 && {
      'one pixel of padding more': (planted: KernelArg[]) =>
        planted.with(first + 12, (planted[first + 12] as number) + 1),
    }),
  }
}

function conv2dCase(
  { name, sizes, counts: [x, w, y], operations }: SizedConv,
  withBias: boolean,
): KernelCase {
  const args: KernelCase['args'] = (random) => {
    const bias = withBias ? normals(random, sizes[4]) : null
    return [normals(random, x), normals(random, w), bias, new Float32Array(y), ...sizes]
  }
  return {
    name: `${name}${withBias ? ' bias' : ''}`,
    args,
    tolerance: (args) => sumTolerance(conv2d, args, 3),
    work: { operations, bytes: 4 * (x + w + y) },
    defects: {
      ...convDefects([new Float32Array(x), new Float32Array(w), null, null, ...sizes]),
      ...(withBias && {
        'bias of the neighbour': (args) =>
          args.with(
            2,
            (args[2] as Float32Array).map((value, i, all) => all[i + 1] ?? value + 1),
          ),
      }),
    },
  }
}

export const cases: KernelCase[] = convs.map((conv, i) => conv2dCase(conv, i % 2 === 1))
export const benchmarks: KernelCase[] = convBenchmarks.map((conv) => conv2dCase(conv, false))
