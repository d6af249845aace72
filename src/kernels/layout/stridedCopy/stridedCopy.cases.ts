import type { KernelCase } from '../../case.ts'

interface Layout {
  name: string
  sizes: number[]
  x: number[]
  y: number[]
  xOffset?: number
  yOffset?: number
}

/** Values that a layout reaches, the last one included. */
const reach = (sizes: number[], strides: number[], offset = 0) =>
  sizes.reduce((end, size, k) => end + (size - 1) * strides[k], offset) + 1

/** Sizes and strides of five dimensions. */
const layouts: Layout[] = [
  { name: 'one value', sizes: [1, 1, 1, 1, 1], x: [0, 0, 0, 0, 1], y: [0, 0, 0, 0, 1] },
  { name: 'a transposed matrix', sizes: [1, 1, 1, 37, 53], x: [0, 0, 0, 1, 37], y: [0, 0, 0, 53, 1] },
  { name: 'heads before tokens', sizes: [1, 2, 3, 5, 7], x: [0, 105, 7, 21, 1], y: [0, 105, 35, 7, 1] },
  { name: 'all axes turned', sizes: [2, 3, 4, 5, 6], x: [1, 2, 6, 24, 120], y: [360, 120, 30, 6, 1] },
  { name: 'one row for all', sizes: [1, 1, 1, 19, 40], x: [0, 0, 0, 0, 1], y: [0, 0, 0, 40, 1] },
  { name: 'one column for all', sizes: [1, 1, 1, 19, 40], x: [0, 0, 0, 1, 0], y: [0, 0, 0, 40, 1] },
  {
    name: 'every second value',
    sizes: [1, 1, 1, 9, 11],
    x: [0, 0, 0, 30, 2],
    y: [0, 0, 0, 11, 1],
    xOffset: 3,
  },
  {
    name: 'into columns of a wider matrix',
    sizes: [1, 1, 1, 9, 11],
    x: [0, 0, 0, 11, 1],
    y: [0, 0, 0, 30, 1],
    yOffset: 5,
  },
  {
    name: 'several tasks',
    sizes: [2, 2, 3, 101, 130],
    x: [78780, 39390, 13130, 1, 101],
    y: [78780, 39390, 13130, 130, 1],
  },
]

export const cases: KernelCase[] = layouts.flatMap(({ name, sizes, x, y, xOffset = 0, yOffset = 0 }) =>
  [1, 2, 4, 8].map(
    (bytes): KernelCase => ({
      name: `${name}, ${bytes} bytes`,
      args(random) {
        const source = new Uint8Array(reach(sizes, x, xOffset) * bytes).map(() => random.uint32())
        // One value more than is written must stay as it is.
        const target = new Uint8Array((reach(sizes, y, yOffset) + 1) * bytes).fill(0x5a)
        return [source, target, bytes, ...sizes, xOffset, ...x, yOffset, ...y]
      },
      tolerance: () => 'exact',
      defects:
        name === 'one value'
          ? undefined
          : { 'one value less': (args) => args.with(7, (args[7] as number) - 1) },
    }),
  ),
)
