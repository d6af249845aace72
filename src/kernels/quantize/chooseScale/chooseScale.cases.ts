import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { encodeFloat } from '../../../core/halves.ts'
import { qfloat8_e4m3fn, qfloat8_e4m3fnuz, qfloat8_e5m2, qint8 } from '../../../core/qtype.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { normals, rawOf, replaced, shapes, specials } from '../../inputs.ts'
import { type ScaleRule, scaleRules } from './chooseScale.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

/** A rule and the range of its codes: qmin, qmax, the code stored for 0. */
interface Choice {
  rule: ScaleRule
  range: readonly [qmin: number, qmax: number, zero: number]
  offset: 'none' | 'shift' | 'zero point'
  epsilon: number
}

const showChoice = ({ rule, range: [qmin, qmax], offset }: Choice) =>
  `${rule} ${qmin}…${qmax}${offset === 'none' ? '' : ` with a ${offset}`}`

/** quanto's symmetric scales. */
const symmetric: Choice[] = [qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz].map(({ qmax }) => ({
  rule: 'absmax',
  range: [-qmax, qmax, 0],
  offset: 'none',
  epsilon: 0,
}))

/** quanto's scales and shifts. */
const shifted: Choice[] = [3, 15].map((levels) => ({
  rule: 'range',
  range: [0, levels, 0],
  offset: 'shift',
  epsilon: 0,
}))

/** MLX's scales and shifts. */
const edged: Choice[] = [3, 15, 255].map((levels) => ({
  rule: 'edge',
  range: [0, levels, 0],
  offset: 'shift',
  epsilon: 1e-7,
}))

/** torchao's scales and zero points: int8, int4 stored unsigned, int2. */
const around: Choice[] = ['absmax', 'noClipping', 'range'].flatMap((rule) =>
  (
    [
      [-128, 127, 0],
      [-8, 7, 8],
      [-2, 1, 2],
    ] as const
  ).map((range) => ({
    rule: rule as ScaleRule,
    range,
    offset: 'zero point' as const,
    epsilon: 2 ** -23,
  })),
)

function argsOf(choice: Choice, dtype: FloatDType, x: Float32Array, rows: number, cols: number): KernelArg[] {
  const { rule, range, offset, epsilon } = choice
  const perRow = () => rawOf(dtype, new Float32Array(rows))
  const shift = offset === 'shift' ? perRow() : null
  const zeroPoint = offset === 'zero point' ? new Uint8Array(rows) : null
  const outputs = [perRow(), shift, zeroPoint]
  return [scaleRules[rule], rawOf(dtype, x), dtypes[dtype].code, ...outputs, rows, cols, ...range, epsilon]
}

/** x with a value at an end replaced. */
function withValue(args: KernelArg[], end: 'first' | 'last', value: number, dtype: FloatDType): KernelArg[] {
  const x = (args[1] as HostArray).slice()
  x[end === 'first' ? 0 : x.length - 1] = encodeFloat(dtype, value)
  return replaced(args, 1, x)
}

const withLimits = (args: KernelArg[], qmin: number, qmax: number) =>
  replaced(replaced(args, 8, qmin), 9, qmax)

function defectsOf({ offset, range: [qmin, qmax] }: Choice, dtype: FloatDType, cols: number) {
  const defects: KernelCase['defects'] = {}
  if (offset === 'none') {
    defects['half of qmax'] = (args) => withLimits(args, qmin / 2, qmax / 2)
    defects['one value'] = (args) => withValue(args, 'last', 10, dtype)
  } else if (offset === 'shift') {
    defects['zero in the range'] = (args) => withValue(args, 'last', 0, dtype)
    // A constant group has scale 0 whatever the levels.
    if (cols > 1) defects['one level more'] = (args) => withLimits(args, qmin, qmax + 1)
  } else {
    defects['one bit more'] = (args) => withLimits(args, 2 * qmin, 2 * qmax + 1)
    defects['an outlier lost'] = (args) => withValue(args, 'first', 9, dtype)
  }
  return defects
}

const kinds = floats.flatMap((dtype) =>
  [...symmetric, ...shifted, ...edged, ...around].map((choice) => ({ dtype, choice })),
)

const sizes: KernelCase[] = kinds.flatMap(({ dtype, choice }) =>
  shapes.map(([rows, cols]) => ({
    name: `${rows}x${cols} ${dtype} ${showChoice(choice)}`,
    args: (random) => {
      // A range with a shift lies far from zero, which it must not include.
      const mean = { none: 0, shift: 1, 'zero point': 0.1 }[choice.offset]
      const x = normals(random, rows * cols, 0.1, mean)
      if (choice.offset === 'zero point' && rows > 2) x.fill(0.3, (rows - 1) * cols)
      return argsOf(choice, dtype, x, rows, cols)
    },
    tolerance: () => 'exact',
    defects: defectsOf(choice, dtype, cols),
  })),
)

/**
 * Row r holds special value r at column r, of zero points and edges only finite ones; the last rows are
 * constant: zeros of both signs, negative zeros, 0.3 and what lies below epsilon.
 */
const special: KernelCase[] = kinds.map(({ dtype, choice }) => ({
  name: `special values ${dtype} ${showChoice(choice)}`,
  args: (random) => {
    const finite = choice.offset === 'zero point' || choice.rule === 'edge'
    const held = finite ? specials.filter(Number.isFinite) : specials
    const count = held.length
    const x = normals(random, (count + 4) * count, 1e-4)
    for (let r = 0; r < count; r++) x[r * count + r] = held[r]
    for (let c = 0; c < count; c++) x[count * count + c] = c % 2 ? 0 : -0
    for (const [i, value] of [-0, 0.3, 1e-9].entries())
      x.fill(value, (count + 1 + i) * count, (count + 2 + i) * count)
    return argsOf(choice, dtype, x, count + 4, count)
  },
  tolerance: () => 'exact',
}))

export const cases = [...sizes, ...special]

export const benchmarks: KernelCase[] = [
  ...symmetric.slice(0, 1),
  ...shifted.slice(1),
  ...edged.slice(1, 2),
].map((choice) => ({
  name: `131072x128 float32 ${showChoice(choice)}`,
  args: (random) => argsOf(choice, 'float32', normals(random, 131072 * 128), 131072, 128),
  tolerance: () => 'exact',
  work: { operations: 131072 * 128, bytes: 4 * 131072 * 128 },
}))
