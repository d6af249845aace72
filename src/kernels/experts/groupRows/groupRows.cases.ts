import type { KernelCase } from '../../case.ts'

function groupRowsCase(rows: number, perRow: number, groupCount: number): KernelCase {
  const count = rows * perRow
  return {
    name: `${rows} rows to ${perRow} of ${groupCount} groups`,
    args(random) {
      const groups = Int32Array.from({ length: count }, () => Math.floor(random.uniform() * groupCount))
      const [order, places] = [new Int32Array(count), new Int32Array(count)]
      return [groups, order, places, new Int32Array(groupCount + 1), count, perRow, groupCount]
    },
    tolerance: () => 'exact',
    defects:
      groupCount === 1
        ? undefined
        : {
            'an entry of another group': (args) => {
              const groups = (args[0] as Int32Array).slice()
              groups[0] = (groups[0] + 1) % groupCount
              return args.with(0, groups)
            },
          },
  }
}

export const cases: KernelCase[] = [
  groupRowsCase(1, 2, 8),
  groupRowsCase(1, 8, 128),
  groupRowsCase(7, 1, 3),
  groupRowsCase(33, 4, 5),
  groupRowsCase(512, 8, 128),
  groupRowsCase(5, 2, 1),
]
