import type { KernelCase } from '../../case.ts'
import { counts, replaced } from '../../inputs.ts'

const sizes: KernelCase[] = counts.map((count) => ({
  name: `count=${count}`,
  args: () => [new Float32Array(count), 0.1, count],
  tolerance: () => 'exact',
  defects: { 'value in bfloat16': (args) => replaced(args, 1, 0.10009765625) },
}))

const values: KernelCase[] = [NaN, Infinity, -0, 2 ** -149].map((value) => ({
  name: `value=${Object.is(value, -0) ? '-0' : value}`,
  args: () => [new Float32Array(19), value, 19],
  tolerance: () => 'exact',
}))

export const cases = [...sizes, ...values]
