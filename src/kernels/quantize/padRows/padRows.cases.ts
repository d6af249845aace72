import type { KernelCase } from '../../case.ts'
import { replaced, shapes } from '../../inputs.ts'
import { rowStride } from '../quantizeRows/quantizeRows.ts'

export const cases: readonly KernelCase[] = shapes.map(([rows, cols]) => ({
  name: `${rows}x${cols}`,
  args: (random) => {
    const codes = Uint8Array.from({ length: rows * cols }, () => random.uniform() * 256)
    codes[0] = 0x80
    return [codes, new Uint8Array(rows * rowStride(cols)), new Float32Array(rows), rows, cols]
  },
  tolerance: () => 'exact',
  defects: {
    'a code one off': (args) =>
      replaced(
        args,
        0,
        (args[0] as Uint8Array).map((code, i) => (i === 0 ? code + 1 : code)),
      ),
  },
}))
