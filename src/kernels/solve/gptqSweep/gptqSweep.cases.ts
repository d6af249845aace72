import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { toNumbers } from '../../../core/halves.ts'
import { Random } from '../../../core/random.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { normals, rawOf, replaced } from '../../inputs.ts'
import { gram } from '../gram/gram.ts'
import { inverseFactor } from '../inverseFactor/inverseFactor.ts'
import { type OrderRule, orderRules, solvingOrder } from '../solvingOrder/solvingOrder.ts'
import { type GridRule, gptqSweep, gptqSweepBytes, gridRules } from './gptqSweep.ts'

interface Setting {
  rows: number
  cols: number
  groupSize: number
  rule: GridRule
  bits: number
  order?: OrderRule
  /** Groups of the columns in solving order; scales chosen first. */
  stored?: boolean
  early?: boolean
  drifts?: boolean
  /** Without statistics. */
  rounds?: boolean
  dtype?: FloatDType
  scaleDtype?: FloatDType
  steps?: number
  blockSize?: number
  signed?: boolean
}

const outputs = { codes: 7, scale: 8, shift: 9, zeroPoint: 10 } as const

/**
 * A weight with outliers, a row of zeros and one above 0; inputs whose columns differ in size, one without
 * any.
 */
function argsOf(random: Random, setting: Setting): KernelArg[] {
  const { rows, cols, groupSize, rule, bits, order: orderRule = 'none', stored, early, drifts } = setting
  const { dtype = 'float32', scaleDtype = 'float32', steps = 0, blockSize = 128, signed, rounds } = setting
  const w = normals(random, rows * cols).map((value, at) => (at % 61 === 7 ? 4 * value : value))
  if (rows > 2) w.fill(0, cols, 2 * cols)
  if (rows > 3) w.set(w.subarray(2 * cols, 3 * cols).map(Math.abs), 2 * cols)
  const x = normals(random, 4 * cols * cols).map(
    (value, at) => (cols > 16 && at % cols === 11 ? 0 : value) * (1 + ((at % cols) % 7)),
  )
  const [h, factor] = [new Float32Array(cols * cols), new Float32Array(cols * cols)]
  gram(x, h, new Float32Array(1), 4 * cols, cols)
  const [order, places] = [new Int32Array(cols), new Int32Array(cols)]
  solvingOrder(h, order, places, orderRules[orderRule], groupSize, cols)
  inverseFactor(h, order, 0.01, 0.01, factor, new Float32Array(1), null, cols)
  const drift = new Float32Array(cols * cols)
  for (let j = 0; j < cols; j++)
    for (let i = 0; i < j; i++) drift[j * cols + i] = (0.1 / cols) * random.normal()
  const groups = rows * Math.ceil(cols / groupSize)
  const half = 2 ** (bits - 1)
  const [qmin, qmax] = signed ? [rule === 'absmax' ? 1 - half : -half, half - 1] : [0, 2 * half - 1]
  return [
    ...[rawOf(dtype, w), dtypes[dtype].code, rounds ? null : h, rounds ? null : factor],
    ...[drifts ? drift : null, order, places],
    ...[new Uint8Array(rows * cols), rawOf(scaleDtype, new Float32Array(groups))],
    rule === 'shift' ? rawOf(scaleDtype, new Float32Array(groups)) : null,
    rule === 'symmetric' || rule === 'zeroPoint' ? new Uint8Array(groups) : null,
    ...[dtypes[scaleDtype].code, new Uint8Array(gptqSweepBytes(rows, cols, groupSize, drifts ?? false))],
    ...[
      rows,
      cols,
      groupSize,
      blockSize,
      gridRules[rule],
      qmin,
      qmax,
      stored ? 1 : 0,
      early ? 1 : 0,
      steps,
      0.8,
    ],
  ]
}

/**
 * What the definition makes of the weight, and of three that differ from it by what float32 may add up to.
 */
function variants(args: readonly KernelArg[], { dtype = 'float32' }: Setting): KernelArg[][] {
  const random = new Random(99)
  const weight = toNumbers(dtype, args[0] as HostArray)
  return [0, 1, 2, 3].map((variant) => {
    const copy = args.map((arg) => (arg === null || typeof arg === 'number' ? arg : arg.slice()))
    const moved = Float32Array.from(weight, (value) => value + (variant && 2 ** -18 * random.normal()))
    copy[0] = moved
    copy[1] = dtypes.float32.code
    ;(gptqSweep as (...all: KernelArg[]) => void)(...copy)
    return copy
  })
}

/**
 * A row is as sure as its codes are: where those of a weight that differs by 2⁻¹⁸ are others, one lies so
 * near to a tie that float32 may round it the other way, and all that follow in the row with it. Codes and
 * zero points of all other rows are exact; scales move as far as they do among these weights.
 */
function toleranceOf(setting: Setting) {
  const { rows, cols, scaleDtype = 'float32' } = setting
  let known: { args: readonly KernelArg[]; runs: KernelArg[][]; sure: boolean[] } | null = null
  return (args: readonly KernelArg[], output: number) => {
    if (output === 12) return Infinity
    if (known?.args !== args) {
      const runs = variants(args, setting)
      const codes = runs.map((run) => run[outputs.codes] as Uint8Array)
      const zeros = runs.map((run) => run[outputs.zeroPoint] as Uint8Array | null)
      const same = (of: (Uint8Array | null)[], r: number) => {
        const width = (of[0]?.length ?? 0) / rows
        const row = (one: Uint8Array | null) => one?.subarray(r * width, (r + 1) * width).join()
        return of.every((one) => row(one) === row(of[0]))
      }
      known = { args, runs, sure: Array.from({ length: rows }, (_, r) => same(codes, r) && same(zeros, r)) }
    }
    const { runs, sure } = known
    if (!sure.some((one) => one)) throw new Error('no row is sure')
    const width = output === outputs.codes ? cols : (args[output] as HostArray).length / rows
    return Float64Array.from({ length: rows * width }, (_, at) => {
      if (!sure[Math.floor(at / width)]) return Infinity
      if (output === outputs.codes || output === outputs.zeroPoint) return 0
      const [base, ...others] = runs.map((run) => toNumbers(scaleDtype, run[output] as HostArray)[at])
      const moved = Math.max(...others.map((value) => Math.abs(value - base)))
      return (
        4 * moved + (scaleDtype === 'float32' ? 2 ** -20 : 2 ** -7) * Math.abs(base) * (moved > 0 ? 1 : 0)
      )
    })
  }
}

function caseOf(setting: Setting): KernelCase {
  const {
    rows,
    cols,
    groupSize,
    rule,
    order = 'none',
    stored,
    early,
    drifts,
    dtype,
    scaleDtype,
    steps,
  } = setting
  const words = [
    stored && 'stored in it',
    early && 'scales first',
    drifts && 'drift',
    dtype,
    scaleDtype,
    steps,
  ]
  const plain = cols >= 60 && rows > 3 && !setting.rounds
  return {
    name: [`${rows}x${cols}/${groupSize} ${setting.bits} bits`, rule, order, ...words]
      .filter(Boolean)
      .join(', '),
    args: (random) => argsOf(random, setting),
    tolerance: toleranceOf(setting),
    defects: plain
      ? {
          // Of 8 bits few errors are worth a code, and searched scales hide some.
          ...(setting.bits < 8 &&
            !steps && {
              'errors that are a hundredth larger': (args: KernelArg[]) => {
                const factor = args[3] as Float32Array
                const larger = factor.map((value, at) => (at % (cols + 1) === 0 ? 1 : 1.01) * value)
                return replaced(args, 3, larger)
              },
            }),
          'the factor transposed': (args) => {
            const factor = args[3] as Float32Array
            return replaced(
              args,
              3,
              factor.map((_, at) => factor[(at % cols) * cols + Math.floor(at / cols)]),
            )
          },
          'no factor': (args) => replaced(args, 3, null),
          'a column with inputs more': (args) =>
            replaced(args, 2, (args[2] as Float32Array).with(11 * (cols + 1), 1)),
          ...(drifts && { 'no drift': (args: KernelArg[]) => replaced(args, 4, null) }),
          ...(steps && { 'no search': (args: KernelArg[]) => replaced(args, 22, 0) }),
        }
      : undefined,
    work: { operations: rows * cols * cols, bytes: 4 * (rows * cols + (cols * cols) / 2) },
  }
}

/** Every rule, order, dtype; tails of rows, groups and blocks; more than one block and tile. */
const settings: Setting[] = [
  { rows: 1, cols: 1, groupSize: 1, rule: 'symmetric', bits: 4 },
  { rows: 5, cols: 17, groupSize: 17, rule: 'zeroPoint', bits: 4, early: true },
  { rows: 12, cols: 172, groupSize: 32, rule: 'zeroPoint', bits: 4 },
  { rows: 66, cols: 136, groupSize: 34, rule: 'symmetric', bits: 4, order: 'descending', stored: true },
  { rows: 9, cols: 172, groupSize: 32, rule: 'zeroPoint', bits: 2, order: 'descending', early: true },
  { rows: 9, cols: 144, groupSize: 48, rule: 'symmetric', bits: 3, order: 'groups' },
  { rows: 12, cols: 140, groupSize: 140, rule: 'symmetric', bits: 8, early: true, signed: true },
  { rows: 12, cols: 64, groupSize: 32, rule: 'absmax', bits: 8, signed: true, dtype: 'bfloat16' },
  { rows: 12, cols: 96, groupSize: 48, rule: 'shift', bits: 4, scaleDtype: 'float16', dtype: 'float16' },
  { rows: 9, cols: 96, groupSize: 32, rule: 'zeroPoint', bits: 3, scaleDtype: 'bfloat16', blockSize: 32 },
  { rows: 9, cols: 144, groupSize: 48, rule: 'zeroPoint', bits: 4, drifts: true },
  { rows: 9, cols: 64, groupSize: 32, rule: 'zeroPoint', bits: 2, steps: 80 },
  { rows: 9, cols: 64, groupSize: 32, rule: 'symmetric', bits: 3, steps: 20, scaleDtype: 'float16' },
  { rows: 9, cols: 64, groupSize: 32, rule: 'shift', bits: 2, steps: 20 },
  { rows: 9, cols: 70, groupSize: 32, rule: 'zeroPoint', bits: 4, rounds: true },
]

export const cases: KernelCase[] = settings.map(caseOf)
