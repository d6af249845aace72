import { dtypes, type FloatDType, type HostArray } from '../../../core/dtype.ts'
import { type QType, qint2, qint4, qint8, qtypesByCode } from '../../../core/qtype.ts'
import type { KernelArg, KernelCase } from '../../case.ts'
import { counts, normals, rawOf, replaced, shapes } from '../../inputs.ts'
import { activationTypes, rolled } from '../quantize/quantize.cases.ts'

const floats: FloatDType[] = ['float32', 'float16', 'bfloat16']

/** Rows of 256 hold every code. */
const sizes = [...shapes, [2, 256] as const]

/** Codes in order, of so many bits. */
const inOrder = (count: number, bits: number) =>
  Uint8Array.from({ length: count }, (_, i) => i & (2 ** bits - 1))

function argsOf(
  codes: Uint8Array,
  qtype: QType,
  dtype: FloatDType,
  scale: HostArray,
  offsets: [shift: HostArray | null, zeroPoint: Uint8Array | null],
  [rows, cols]: readonly [number, number],
): KernelArg[] {
  const y = rawOf(dtype, new Float32Array(rows * cols))
  const stride = scale.length === rows ? 1 : 0
  return [codes, qtype.code, scale, stride, ...offsets, y, dtypes[dtype].code, rows, cols]
}

const oneCode = (args: KernelArg[]) =>
  replaced(args, 0, (args[0] as Uint8Array).with(0, 1 + (args[0] as Uint8Array)[0]))

const shifted: KernelCase[] = floats.flatMap((dtype) =>
  qtypesByCode.flatMap((qtype) =>
    sizes.map(([rows, cols]) => ({
      name: `${rows}x${cols} ${dtype} ${qtype.name}`,
      args: (random) => {
        const scale = rawOf(dtype, normals(random, rows, 0.04, 0.1))
        const shift = qtype.unsigned ? rawOf(dtype, normals(random, rows)) : null
        const codes = inOrder(rows * cols, qtype.bits)
        return argsOf(codes, qtype, dtype, scale, [shift, null], [rows, cols])
      },
      tolerance: () => 'exact',
      defects: {
        'one code': oneCode,
        ...(rows > 1 && { 'scale of the next row': (args: KernelArg[]) => rolled(args, 2) }),
      },
    })),
  ),
)

const zeroPoints: KernelCase[] = floats.flatMap((dtype) =>
  [qint2, qint4, qint8].flatMap((qtype) =>
    sizes.map(([rows, cols]) => ({
      name: `${rows}x${cols} ${dtype} ${qtype.name} around a zero point`,
      args: (random) => {
        const zeroPoint = inOrder(77 * rows, qtype.bits).filter((_, i) => i % 77 === 1)
        const scale = rawOf(dtype, normals(random, rows, 0.04, 0.1))
        const codes = inOrder(rows * cols, qtype.bits)
        return argsOf(codes, qtype, dtype, scale, [null, zeroPoint], [rows, cols])
      },
      tolerance: () => 'exact',
      defects: {
        'one code': oneCode,
        'a zero point of 0': (args) => replaced(args, 5, new Uint8Array(rows)),
        ...(rows > 1 && { 'scale of the next row': (args: KernelArg[]) => rolled(args, 2) }),
      },
    })),
  ),
)

/** Every code that there is, again and again; one multiplication, so the same bits everywhere. */
const oneScale: KernelCase[] = activationTypes.flatMap((qtype) =>
  counts.flatMap((count) =>
    [1, ...(count < 2000 ? [10] : [])].map((rows) => ({
      name: `${rows}x${count} of one scale ${qtype.name}`,
      args: () => {
        const codes = Uint8Array.from({ length: rows * count }, (_, i) => 37 * i + 1)
        const args = argsOf(codes, qtype, 'float32', Float32Array.of(0.0123), [null, null], [rows, count])
        return args.with(3, 0)
      },
      tolerance: () => 'exact',
      defects: {
        'scale an ulp off': (args) => replaced(args, 2, Float32Array.of(0.0123 * (1 + 2 ** -22))),
        'a code one off': oneCode,
      },
    })),
  ),
)

export const cases = [...shifted, ...zeroPoints, ...oneScale]

export const benchmarks: KernelCase[] = [
  {
    name: '32768x128 float32 qint4 with a shift',
    args: (random) => {
      const [scale, shift] = [normals(random, 32768), normals(random, 32768)]
      return argsOf(inOrder(2048 * 2048, 4), qint4, 'float32', scale, [shift, null], [32768, 128])
    },
    tolerance: () => 'exact',
    work: { operations: 2 * 2048 * 2048, bytes: 5 * 2048 * 2048 },
  },
]
