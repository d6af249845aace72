import { dtypes, type FloatDType } from '../../../core/dtype.ts'
import type { Random } from '../../../core/random.ts'
import type { KernelCase } from '../../case.ts'
import { rawOf, replaced } from '../../inputs.ts'
import { type EncodedType, encodedTypes } from './quantizeBlocks.ts'

/** Outputs of the right lengths, and the sizes. */
function outputs({ block, group, scaleBytes, shift }: EncodedType, rows: number, cols: number) {
  const bytes = (each: number) => new Uint8Array((rows * cols) / each)
  const halves = () => new Uint8Array(((rows * cols) / block) * scaleBytes)
  return [
    bytes(1),
    halves(),
    shift ? halves() : null,
    group > 0 ? bytes(group) : null,
    shift && group > 0 ? bytes(group) : null,
    rows,
    cols,
  ]
}

/** Weights as models have them, with rows of every other kind among them. */
function weights(random: Random, rows: number, cols: number): Float32Array {
  const kinds: ((i: number) => number)[] = [
    () => 0.1 * random.normal(),
    () => 0.1 * random.normal(),
    () => 0,
    () => -0.75,
    () => 0.5 + random.uniform(),
    (i) => (i % 512 < 256 ? 0 : random.normal()),
    () => -0.3 - 1e-7 * random.uniform(),
    () => 1e-41 * random.normal(),
    () => 1e4 * random.normal(),
    () => random.normal() * 2 ** Math.floor(20 * random.uniform() - 15),
  ]
  return Float32Array.from({ length: rows * cols }, (_, i) => kinds[Math.floor(i / cols) % kinds.length](i))
}

function encodingCase(
  name: string,
  encoded: EncodedType,
  [rows, blocks]: readonly [rows: number, blocks: number],
  dtype: FloatDType,
  weighted: boolean,
): KernelCase {
  const cols = blocks * encoded.block
  return {
    name: `${name} rows=${rows} cols=${cols} ${dtype}${weighted ? ' by importance' : ''}`,
    args: (random) => {
      const importance = Float32Array.from({ length: cols }, () => random.normal() ** 2 + 0.01)
      const x = rawOf(dtype, weights(random, rows, cols))
      return [
        ...[x, dtypes[dtype].code, weighted ? importance : null, encoded.type],
        ...outputs(encoded, rows, cols),
      ]
    },
    tolerance: () => 'exact',
    defects: {
      'halved values': (args) => {
        const one = { float32: 0x800000, float16: 0x400, bfloat16: 0x80 }[dtype as 'float32']
        const x = args[0] as Float32Array | Uint16Array
        const halved = dtype === 'float32' ? x.map((value) => value / 2) : x.map((bits) => bits - one)
        return replaced(args, 0, halved)
      },
      ...(weighted && { 'without importance': (args) => replaced(args, 2, null) }),
    },
    work: { operations: 500 * rows * cols, bytes: rows * cols * dtypes[dtype].bytes },
  }
}

const all = Object.entries(encodedTypes)
/** Whose encoders take no notice of importance. */
const unweighted = ['Q8_0', 'TQ1_0', 'TQ2_0', 'MXFP4']

export const cases: KernelCase[] = all.flatMap(([name, encoded]) => [
  encodingCase(name, encoded, [10, 1], 'float32', false),
  encodingCase(name, encoded, [23, 3], 'float32', false),
  encodingCase(name, encoded, [2, 18], 'bfloat16', false),
  encodingCase(name, encoded, [3, 2], 'float16', false),
  ...(unweighted.includes(name) ? [] : [encodingCase(name, encoded, [23, 3], 'float32', true)]),
])

export const benchmarks: KernelCase[] = all.map(([name, encoded]) =>
  encodingCase(name, encoded, [1024, 1024 / encoded.block], 'float32', false),
)
