import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import {
  type QType,
  qfloat8_e4m3fn,
  qfloat8_e4m3fnuz,
  qfloat8_e5m2,
  qint2,
  qint4,
  qint8,
  qtypesByCode,
} from '../../../core/qtype.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { counts, inBfloat16, normals, rawOf, replaced, shapes, specials } from '../../inputs.ts'
import { chooseScale, scaleRules } from '../chooseScale/chooseScale.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

/** Scale and shift as quanto chooses them. */
export function scalesOf(
  x: HostArray,
  dtype: FloatDType,
  rows: number,
  cols: number,
  qtype: QType,
): [scale: HostArray, shift: HostArray | null] {
  const scale = rawOf(dtype, new Float32Array(rows))
  const shift = qtype.unsigned ? rawOf(dtype, new Float32Array(rows)) : null
  const rule = qtype.unsigned ? scaleRules.range : scaleRules.absmax
  const qmin = qtype.unsigned ? 0 : -qtype.qmax
  chooseScale(rule, x, dtypes[dtype].code, scale, shift, null, rows, cols, qmin, qtype.qmax, 0, 0)
  return [scale, shift]
}

/** What is quantized, by which scales, to which codes. */
interface Given {
  x: HostArray
  dtype: FloatDType
  scale: HostArray
  shift?: HostArray | null
  zeroPoint?: Uint8Array | null
  rows: number
  cols: number
  qtype: QType
  reciprocal?: number
}

function argsOf({ x, dtype, scale, shift, zeroPoint, rows, cols, qtype, reciprocal }: Given): KernelArg[] {
  const stride = scale.length === rows ? 1 : 0
  const offsets = [shift ?? null, zeroPoint ?? null]
  const range = [qtype.code, qtype.qmin, qtype.qmax, reciprocal ?? 0]
  const codes = new Uint8Array(rows * cols)
  return [x, dtypes[dtype].code, scale, stride, ...offsets, codes, rows, cols, ...range]
}

/** Each row gets argument `index` of the next. */
export const rolled = (args: KernelArg[], index: number) => {
  const values = args[index] as HostArray
  const next = values.map((_: unknown, r: number) => values[(r + 1) % values.length] as never)
  return replaced(args, index, next as HostArray)
}

/** Ties with a scale of 1 and values far outside the codes, after NaN and infinities. */
const specialRow = [...specials, ...Array.from({ length: 523 - specials.length }, (_, i) => i / 2 - 120)]
/** Scales that are whole, subnormal, infinite, NaN and 0. */
const specialScales = [1, 2 ** -14, 2 ** -24, Infinity, NaN, 0]
const specialRows = (dtype: FloatDType) =>
  rawOf(
    dtype,
    specialScales.flatMap(() => specialRow),
  )

const pairs = floats.flatMap((dtype) =>
  qtypesByCode.filter(({ codebook }) => !codebook).map((qtype) => [dtype, qtype] as const),
)

/** With quanto's scales, the last row constant (or zero): its scale is 0. */
const shifted: KernelCase[] = pairs.flatMap(([dtype, qtype]) =>
  shapes.map(([rows, cols]) => ({
    name: `${rows}x${cols} ${dtype} ${qtype.name}`,
    args: (random) => {
      const values = normals(random, rows * cols, 0.1)
      if (rows > 1) values.fill(qtype.unsigned ? 0.3 : 0, (rows - 1) * cols)
      const x = rawOf(dtype, values)
      const [scale, shift] = scalesOf(x, dtype, rows, cols, qtype)
      return argsOf({ x, dtype, scale, shift, rows, cols, qtype })
    },
    tolerance: () => 'exact',
    // Too few values may keep their codes.
    defects:
      rows < 3 || cols < 64
        ? undefined
        : ({
            'scale of the next row': (args) => rolled(args, 2),
            ...(dtype === 'float32' &&
              qtype.bits === 8 && {
                'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
              }),
            ...(qtype.unsigned && { 'shift of the next row': (args) => rolled(args, 4) }),
          } as KernelCase['defects']),
  })),
)

const shiftedSpecials: KernelCase[] = pairs.map(([dtype, qtype]) => ({
  name: `special values ${dtype} ${qtype.name}`,
  args: () => {
    const scale = rawOf(dtype, specialScales)
    const shift = qtype.unsigned ? rawOf(dtype, [0, 1, -1, 0.1, 0, 3]) : null
    return argsOf({ x: specialRows(dtype), dtype, scale, shift, rows: scale.length, cols: 523, qtype })
  },
  tolerance: () => 'exact',
}))

/** The cases that have no zero points, which `fakeQuantize` takes, too. */
export const casesOfShifts = [...shifted, ...shiftedSpecials]

/** int8, int4, and codes of 3 bits in the middle of those of 4. */
const ranges = [
  { qtype: qint8, qmin: -128, qmax: 127, zero: 0 },
  { qtype: qint4, qmin: 0, qmax: 15, zero: 8 },
  { qtype: qint4, qmin: 0, qmax: 7, zero: 4 },
  { qtype: qint2, qmin: 0, qmax: 3, zero: 0 },
] as const

const around = floats.flatMap((dtype) =>
  ranges.flatMap((range) =>
    [0, 1].map((reciprocal) => ({
      dtype,
      range,
      reciprocal,
      name: `${dtype} ${range.qmin}…${range.qmax} of ${range.qtype.name} around a zero point ${reciprocal ? 'times 1/scale' : 'by scale'}`,
    })),
  ),
)

const withRange = (args: KernelArg[], { qmin, qmax }: (typeof ranges)[number]) =>
  replaced(replaced(args, 10, qmin), 11, qmax)

const zeroPoints: KernelCase[] = around.flatMap(({ dtype, range, reciprocal, name }) =>
  shapes.map(([rows, cols]) => ({
    name: `${rows}x${cols} ${name}`,
    args: (random) => {
      const { qtype, qmin, qmax } = range
      const x = rawOf(dtype, normals(random, rows * cols, (qmax - qmin) / 60))
      const scales = Float32Array.from({ length: rows }, () => 0.1 + 0.02 * random.normal())
      const scale = rawOf(dtype, scales)
      const zeroPoint = Uint8Array.from({ length: rows }, (_, r) => qmin + ((5 + 3 * r) % (qmax - qmin)))
      return withRange(argsOf({ x, dtype, scale, zeroPoint, rows, cols, qtype, reciprocal }), range)
    },
    tolerance: () => 'exact',
    defects:
      rows < 3 || cols < 64
        ? undefined
        : {
            'scale of the next row': (args) => rolled(args, 2),
            'a zero point one too high': (args) => {
              const zeroPoint = args[5] as Uint8Array
              return replaced(args, 5, zeroPoint.with(0, zeroPoint[0] + 1))
            },
            // Few values reach it, and none of int2.
            ...(range.qmax > 3 &&
              rows > 100 && {
                'another limit': (args: KernelArg[]) => replaced(args, 10, range.qmin + 1),
              }),
          },
  })),
)

const zeroPointSpecials: KernelCase[] = around.map(({ dtype, range, reciprocal, name }) => ({
  name: `special values ${name}`,
  args: () => {
    const scale = rawOf(dtype, specialScales)
    const rows = scale.length
    const zeroPoint = new Uint8Array(rows).fill(3 + range.zero)
    const x = specialRows(dtype)
    const given = { x, dtype, scale, zeroPoint, rows, cols: 523, qtype: range.qtype, reciprocal }
    return withRange(argsOf(given), range)
  },
  tolerance: () => 'exact',
}))

/**
 * Where the product with a rounded reciprocal and the quotient round to different codes: 1/3 is rounded down,
 * so 2.5 units fall below.
 */
const reciprocals: KernelCase[] = [
  {
    name: '0.5 units of 0.3 to 40.5 units',
    args: () => {
      const scale = Float32Array.of(0.3)
      const x = Float32Array.from({ length: 41 }, (_, i) => Math.fround((i + 0.5) * scale[0]))
      const zeroPoint = new Uint8Array(1)
      return argsOf({ x, dtype: 'float32', scale, zeroPoint, rows: 1, cols: 41, qtype: qint8, reciprocal: 1 })
    },
    tolerance: () => 'exact',
    defects: { 'a quotient': (args) => replaced(args, 12, 0) },
  },
]

/** The types that activations have. */
export const activationTypes: readonly QType[] = [qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz]

/** x in rows, all of one scale. */
function oneScale(x: Float32Array, scale: number, rows: number, qtype: QType): KernelArg[] {
  const [scales, cols] = [Float32Array.of(scale), x.length / rows]
  return argsOf({ x, dtype: 'float32', scale: scales, rows, cols, qtype }).with(3, 0)
}

/** A scale at which the largest values are cut off, as those of a later batch may be. */
const activations: KernelCase[] = activationTypes.flatMap((qtype) =>
  counts.flatMap((count) =>
    [1, ...(count < 2000 ? [10] : [])].map((rows) => ({
      name: `${rows}x${count} of one scale ${qtype.name}`,
      args: (random) => oneScale(normals(random, rows * count), 2.5 / qtype.qmax, rows, qtype),
      tolerance: () => 'exact',
      defects:
        count < 172
          ? undefined
          : ({
              'twice the scale': (args) => replaced(args, 2, Float32Array.of(5 / qtype.qmax)),
              'x in bfloat16': (args) => replaced(args, 0, inBfloat16(args[0] as Float32Array)),
            } as KernelCase['defects']),
    })),
  ),
)

/** Ties with a scale of 1, values far outside the codes, NaN and infinities, at scales that are none. */
const activationSpecials: KernelCase[] = activationTypes.flatMap((qtype) =>
  [1, 2 ** -14, 2 ** -149, Infinity, NaN, 0].map((scale) => ({
    name: `special values of one scale ${scale} ${qtype.name}`,
    args: () => {
      const ties = Array.from({ length: 600 }, (_, i) => i / 2 - 150)
      return oneScale(Float32Array.of(...specials, ...ties), scale, 1, qtype)
    },
    tolerance: () => 'exact',
  })),
)

export const cases = [
  ...casesOfShifts,
  ...zeroPoints,
  ...zeroPointSpecials,
  ...reciprocals,
  ...activations,
  ...activationSpecials,
]

const work = { operations: 2 * 2048 * 2048, bytes: 5 * 2048 * 2048 }

export const benchmarks: KernelCase[] = [
  {
    name: '2048x2048 float32 qint8 of one scale',
    args: (random) => oneScale(normals(random, 2048 * 2048), 0.02, 2048, qint8),
    tolerance: () => 'exact',
    work,
  },
  {
    name: '32768x128 float32 qint4 with a shift',
    args: (random) => {
      const x = normals(random, 2048 * 2048)
      const [scale, shift] = scalesOf(x, 'float32', 32768, 128, qint4)
      return argsOf({ x, dtype: 'float32', scale, shift, rows: 32768, cols: 128, qtype: qint4 })
    },
    tolerance: () => 'exact',
    work,
  },
]
