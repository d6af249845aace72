import type { KernelArg, KernelCase } from '../../case.ts'
import { counts, magnitudes, replaced } from '../../inputs.ts'

/** Which of a and b are arrays. */
const kinds = [
  [true, true],
  [true, false],
  [false, true],
]

export const cases: KernelCase[] = counts.flatMap((count) =>
  kinds.map(
    ([aThere, bThere]): KernelCase => ({
      name: `count=${count}${aThere ? '' : ', a is one value'}${bThere ? '' : ', b is one value'}`,
      args(random) {
        const mask = new Uint8Array(count).map(() => (random.uniform() < 0.5 ? 0 : random.uint32() | 1))
        const [a, b] = [magnitudes(random, count), magnitudes(random, count).reverse()]
        return [mask, aThere ? a : null, 2, bThere ? b : null, -0, new Float32Array(count), count]
      },
      tolerance: () => 'exact',
      // A few values may be the same on either side.
      defects:
        count < 7
          ? undefined
          : {
              'the other way round': (args: KernelArg[]) =>
                replaced(
                  args,
                  0,
                  (args[0] as Uint8Array).map((byte) => (byte ? 0 : 1)),
                ),
            },
    }),
  ),
)
