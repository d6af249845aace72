import type { KernelCase } from '../../case.ts'
import { inBfloat16, normals, replaced, specials } from '../../inputs.ts'

/** Planes, height, width, outputs, and per axis kernel (0: adaptive), stride, padding, dilation. */
export const pools = [
  {
    name: '3x3 stride 2 padding 1',
    sizes: [6, 7, 7, 4, 4],
    kernel: [3, 3],
    stride: [2, 2],
    padding: [1, 1],
    dilation: [1, 1],
  },
  {
    name: '2x2',
    sizes: [3, 10, 12, 5, 6],
    kernel: [2, 2],
    stride: [2, 2],
    padding: [0, 0],
    dilation: [1, 1],
  },
  {
    name: '2x3 overlapping, uneven padding',
    sizes: [2, 9, 11, 10, 11],
    kernel: [2, 3],
    stride: [1, 1],
    padding: [1, 1],
    dilation: [1, 1],
  },
  {
    name: 'ceil mode: last windows hang over',
    sizes: [2, 8, 8, 4, 4],
    kernel: [3, 3],
    stride: [2, 2],
    padding: [0, 0],
    dilation: [1, 1],
  },
  {
    name: 'adaptive, uneven',
    sizes: [5, 7, 10, 3, 4],
    kernel: [0, 0],
    stride: [1, 1],
    padding: [0, 0],
    dilation: [1, 1],
  },
  {
    name: 'all to one',
    sizes: [40, 23, 29, 1, 1],
    kernel: [0, 0],
    stride: [1, 1],
    padding: [0, 0],
    dilation: [1, 1],
  },
]
const dilated = {
  name: 'dilated',
  sizes: [3, 12, 9, 8, 5],
  kernel: [3, 3],
  stride: [1, 1],
  padding: [0, 0],
  dilation: [2, 2],
}

function poolCase(
  { name, sizes, kernel, stride, padding, dilation }: (typeof pools)[number],
  special: boolean,
): KernelCase {
  const [planes, height, width, outHeight, outWidth] = sizes
  const outputs = planes * outHeight * outWidth
  return {
    name: `${name}${special ? ', special values' : ''}`,
    args(random) {
      const x = normals(random, planes * height * width)
      if (special) for (let i = 0; i < x.length; i += 5) x[i] = specials[(i / 5) % specials.length]
      return [
        x,
        new Float32Array(outputs),
        new Int32Array(outputs),
        ...sizes,
        ...kernel,
        ...stride,
        ...padding,
        ...dilation,
      ]
    },
    tolerance: () => 'exact',
    // A plane's largest special value is the same in bfloat16.
    defects: special
      ? undefined
      : { 'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)) },
  }
}

export const cases: KernelCase[] = [...pools, dilated].flatMap((pool) => [
  poolCase(pool, false),
  poolCase(pool, true),
])
