import type { KernelCase } from '../../case.ts'
import { shapes } from '../../inputs.ts'

export const cases: KernelCase[] = shapes.flatMap(([rows, cols]) =>
  [1, 2, 4, 8].flatMap((bytes) =>
    [0, 1].map(
      (back): KernelCase => ({
        name: `${rows}x${cols} ${bytes} bytes${back ? ' back' : ''}`,
        args(random) {
          const x = new Uint8Array(rows * cols * bytes).map(() => random.uint32())
          const order = Int32Array.from({ length: cols }, (_, i) => i)
          for (let i = cols - 1; i > 0; i--) {
            const j = random.uint32() % (i + 1)
            ;[order[i], order[j]] = [order[j], order[i]]
          }
          return [x, order, new Uint8Array(rows * cols * bytes), bytes, rows, cols, back]
        },
        tolerance: () => 'exact',
        defects:
          cols < 4
            ? undefined
            : {
                'the inverse order': (args) => args.with(6, 1 - back),
                'two columns swapped': (args) => {
                  const order = (args[1] as Int32Array).slice()
                  ;[order[0], order[cols - 1]] = [order[cols - 1], order[0]]
                  return args.with(1, order)
                },
              },
      }),
    ),
  ),
)
