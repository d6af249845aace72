// Made from native/kernels.def by `node native/def.mjs`; edit that file instead.

/** An array: who reads and writes it, and its elements; `{ array: 'T', dtype }` is raw bits of the dtype given by that other argument. */
export interface ArrayArgument {
  readonly name: string
  readonly direction: 'in' | 'out' | 'inout'
  readonly type: 'f32' | 'i32' | 'u8' | { readonly array: 'T'; readonly dtype: string }
  /** May be absent: address 0. */
  readonly optional: boolean
}

/** A number; dtype and qtype are the codes of `src/core/dtype.ts` and `src/core/qtype.ts`. */
export interface ScalarArgument {
  readonly name: string
  readonly direction: 'scalar'
  readonly type: 'i32' | 'f32' | 'dtype' | 'qtype'
}

/** What a kernel takes, and its number in command lists. */
export interface Signature {
  readonly id: number
  readonly args: readonly (ArrayArgument | ScalarArgument)[]
}

export type KernelName = keyof typeof signatures

/** Every kernel by name, in the order of its id. */
export const signatures = {
  copy: {
    id: 0,
    args: [
      { name: 'x', direction: 'in', type: 'u8', optional: false },
      { name: 'y', direction: 'out', type: 'u8', optional: false },
      { name: 'bytes', direction: 'scalar', type: 'i32' },
    ],
  },
  fill: {
    id: 1,
    args: [
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'value', direction: 'scalar', type: 'f32' },
      { name: 'count', direction: 'scalar', type: 'i32' },
    ],
  },
  cast: {
    id: 2,
    args: [
      { name: 'x', direction: 'in', type: { array: 'T', dtype: 'xDtype' }, optional: false },
      { name: 'xDtype', direction: 'scalar', type: 'dtype' },
      { name: 'y', direction: 'out', type: { array: 'T', dtype: 'yDtype' }, optional: false },
      { name: 'yDtype', direction: 'scalar', type: 'dtype' },
      { name: 'count', direction: 'scalar', type: 'i32' },
    ],
  },
  binary: {
    id: 3,
    args: [
      { name: 'op', direction: 'scalar', type: 'i32' },
      { name: 'a', direction: 'in', type: 'f32', optional: false },
      { name: 'b', direction: 'in', type: 'f32', optional: false },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
      { name: 'bRowStride', direction: 'scalar', type: 'i32' },
    ],
  },
  unary: {
    id: 4,
    args: [
      { name: 'op', direction: 'scalar', type: 'i32' },
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'count', direction: 'scalar', type: 'i32' },
    ],
  },
  reduce: {
    id: 5,
    args: [
      { name: 'op', direction: 'scalar', type: 'i32' },
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  argmax: {
    id: 6,
    args: [
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'y', direction: 'out', type: 'i32', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  softmax: {
    id: 7,
    args: [
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  crossEntropy: {
    id: 8,
    args: [
      { name: 'logits', direction: 'in', type: 'f32', optional: false },
      { name: 'targets', direction: 'in', type: 'i32', optional: false },
      { name: 'nll', direction: 'out', type: 'f32', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  klDivergence: {
    id: 9,
    args: [
      { name: 'logits', direction: 'in', type: 'f32', optional: false },
      { name: 'otherLogits', direction: 'in', type: 'f32', optional: false },
      { name: 'kl', direction: 'out', type: 'f32', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  siluMul: {
    id: 10,
    args: [
      { name: 'gate', direction: 'in', type: 'f32', optional: false },
      { name: 'up', direction: 'in', type: 'f32', optional: false },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'count', direction: 'scalar', type: 'i32' },
    ],
  },
  rmsNorm: {
    id: 11,
    args: [
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'weight', direction: 'in', type: { array: 'T', dtype: 'weightDtype' }, optional: false },
      { name: 'weightDtype', direction: 'scalar', type: 'dtype' },
      { name: 'epsilon', direction: 'scalar', type: 'f32' },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  embedding: {
    id: 12,
    args: [
      { name: 'table', direction: 'in', type: { array: 'T', dtype: 'tableDtype' }, optional: false },
      { name: 'tableDtype', direction: 'scalar', type: 'dtype' },
      { name: 'ids', direction: 'in', type: 'i32', optional: false },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'count', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  rope: {
    id: 13,
    args: [
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'cos', direction: 'in', type: 'f32', optional: false },
      { name: 'sin', direction: 'in', type: 'f32', optional: false },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'batch', direction: 'scalar', type: 'i32' },
      { name: 'tokens', direction: 'scalar', type: 'i32' },
      { name: 'heads', direction: 'scalar', type: 'i32' },
      { name: 'headSize', direction: 'scalar', type: 'i32' },
      { name: 'position', direction: 'scalar', type: 'i32' },
    ],
  },
  cacheWrite: {
    id: 14,
    args: [
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'cache', direction: 'inout', type: 'f32', optional: false },
      { name: 'batch', direction: 'scalar', type: 'i32' },
      { name: 'tokens', direction: 'scalar', type: 'i32' },
      { name: 'heads', direction: 'scalar', type: 'i32' },
      { name: 'headSize', direction: 'scalar', type: 'i32' },
      { name: 'position', direction: 'scalar', type: 'i32' },
      { name: 'capacity', direction: 'scalar', type: 'i32' },
    ],
  },
  attention: {
    id: 15,
    args: [
      { name: 'q', direction: 'in', type: 'f32', optional: false },
      { name: 'k', direction: 'in', type: 'f32', optional: false },
      { name: 'v', direction: 'in', type: 'f32', optional: false },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'batch', direction: 'scalar', type: 'i32' },
      { name: 'tokens', direction: 'scalar', type: 'i32' },
      { name: 'heads', direction: 'scalar', type: 'i32' },
      { name: 'kvHeads', direction: 'scalar', type: 'i32' },
      { name: 'headSize', direction: 'scalar', type: 'i32' },
      { name: 'position', direction: 'scalar', type: 'i32' },
      { name: 'capacity', direction: 'scalar', type: 'i32' },
      { name: 'scale', direction: 'scalar', type: 'f32' },
    ],
  },
  matmul: {
    id: 16,
    args: [
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'w', direction: 'in', type: { array: 'T', dtype: 'wDtype' }, optional: false },
      { name: 'wDtype', direction: 'scalar', type: 'dtype' },
      { name: 'bias', direction: 'in', type: 'f32', optional: true },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'M', direction: 'scalar', type: 'i32' },
      { name: 'N', direction: 'scalar', type: 'i32' },
      { name: 'K', direction: 'scalar', type: 'i32' },
    ],
  },
  qmatmul: {
    id: 17,
    args: [
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'w', direction: 'in', type: 'u8', optional: false },
      { name: 'qtype', direction: 'scalar', type: 'qtype' },
      { name: 'scale', direction: 'in', type: { array: 'T', dtype: 'scaleDtype' }, optional: false },
      { name: 'shift', direction: 'in', type: { array: 'T', dtype: 'scaleDtype' }, optional: true },
      { name: 'scaleDtype', direction: 'scalar', type: 'dtype' },
      { name: 'bias', direction: 'in', type: 'f32', optional: true },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'M', direction: 'scalar', type: 'i32' },
      { name: 'N', direction: 'scalar', type: 'i32' },
      { name: 'K', direction: 'scalar', type: 'i32' },
      { name: 'groupSize', direction: 'scalar', type: 'i32' },
    ],
  },
  absmaxScale: {
    id: 18,
    args: [
      { name: 'x', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'dtype', direction: 'scalar', type: 'dtype' },
      { name: 'scale', direction: 'out', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
      { name: 'qmax', direction: 'scalar', type: 'f32' },
    ],
  },
  minmaxScale: {
    id: 19,
    args: [
      { name: 'x', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'dtype', direction: 'scalar', type: 'dtype' },
      { name: 'scale', direction: 'out', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'shift', direction: 'out', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
      { name: 'levels', direction: 'scalar', type: 'i32' },
    ],
  },
  quantize: {
    id: 20,
    args: [
      { name: 'x', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'dtype', direction: 'scalar', type: 'dtype' },
      { name: 'scale', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'shift', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: true },
      { name: 'codes', direction: 'out', type: 'u8', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
      { name: 'qtype', direction: 'scalar', type: 'qtype' },
    ],
  },
  dequantize: {
    id: 21,
    args: [
      { name: 'codes', direction: 'in', type: 'u8', optional: false },
      { name: 'qtype', direction: 'scalar', type: 'qtype' },
      { name: 'scale', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'shift', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: true },
      { name: 'y', direction: 'out', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'dtype', direction: 'scalar', type: 'dtype' },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  tilePack: {
    id: 22,
    args: [
      { name: 'x', direction: 'in', type: 'u8', optional: false },
      { name: 'tiles', direction: 'out', type: 'u8', optional: false },
      { name: 'bits', direction: 'scalar', type: 'i32' },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  tileUnpack: {
    id: 23,
    args: [
      { name: 'tiles', direction: 'in', type: 'u8', optional: false },
      { name: 'x', direction: 'out', type: 'u8', optional: false },
      { name: 'bits', direction: 'scalar', type: 'i32' },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  tileBlocks: {
    id: 24,
    args: [
      { name: 'blocks', direction: 'in', type: 'u8', optional: false },
      { name: 'type', direction: 'scalar', type: 'i32' },
      { name: 'codeTiles', direction: 'out', type: 'u8', optional: false },
      { name: 'scaleTiles', direction: 'out', type: 'u8', optional: false },
      { name: 'shiftTiles', direction: 'out', type: 'u8', optional: true },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  untileBlocks: {
    id: 25,
    args: [
      { name: 'codeTiles', direction: 'in', type: 'u8', optional: false },
      { name: 'scaleTiles', direction: 'in', type: 'u8', optional: false },
      { name: 'shiftTiles', direction: 'in', type: 'u8', optional: true },
      { name: 'type', direction: 'scalar', type: 'i32' },
      { name: 'blocks', direction: 'out', type: 'u8', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
  quantizeRows: {
    id: 26,
    args: [
      { name: 'x', direction: 'in', type: 'f32', optional: false },
      { name: 'codes', direction: 'out', type: 'u8', optional: false },
      { name: 'scale', direction: 'out', type: 'f32', optional: false },
      { name: 'sum', direction: 'out', type: 'f32', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
      { name: 'groupSize', direction: 'scalar', type: 'i32' },
      { name: 'levels', direction: 'scalar', type: 'f32' },
    ],
  },
  qmatmulInt8: {
    id: 27,
    args: [
      { name: 'x', direction: 'in', type: 'u8', optional: false },
      { name: 'xScale', direction: 'in', type: 'f32', optional: false },
      { name: 'xSum', direction: 'in', type: 'f32', optional: false },
      { name: 'xGroupSize', direction: 'scalar', type: 'i32' },
      { name: 'w', direction: 'in', type: 'u8', optional: false },
      { name: 'qtype', direction: 'scalar', type: 'qtype' },
      { name: 'scale', direction: 'in', type: { array: 'T', dtype: 'scaleDtype' }, optional: false },
      { name: 'shift', direction: 'in', type: { array: 'T', dtype: 'scaleDtype' }, optional: true },
      { name: 'scaleDtype', direction: 'scalar', type: 'dtype' },
      { name: 'bias', direction: 'in', type: 'f32', optional: true },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'M', direction: 'scalar', type: 'i32' },
      { name: 'N', direction: 'scalar', type: 'i32' },
      { name: 'K', direction: 'scalar', type: 'i32' },
      { name: 'groupSize', direction: 'scalar', type: 'i32' },
    ],
  },
  qembedding: {
    id: 28,
    args: [
      { name: 'w', direction: 'in', type: 'u8', optional: false },
      { name: 'qtype', direction: 'scalar', type: 'qtype' },
      { name: 'scale', direction: 'in', type: { array: 'T', dtype: 'scaleDtype' }, optional: false },
      { name: 'shift', direction: 'in', type: { array: 'T', dtype: 'scaleDtype' }, optional: true },
      { name: 'scaleDtype', direction: 'scalar', type: 'dtype' },
      { name: 'ids', direction: 'in', type: 'i32', optional: false },
      { name: 'y', direction: 'out', type: 'f32', optional: false },
      { name: 'count', direction: 'scalar', type: 'i32' },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'K', direction: 'scalar', type: 'i32' },
      { name: 'groupSize', direction: 'scalar', type: 'i32' },
    ],
  },
  hqqShift: {
    id: 29,
    args: [
      { name: 'x', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'dtype', direction: 'scalar', type: 'dtype' },
      { name: 'scale', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'shift', direction: 'inout', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'trial', direction: 'out', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'error', direction: 'out', type: 'f32', optional: false },
      { name: 'iterations', direction: 'out', type: 'i32', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
      { name: 'levels', direction: 'scalar', type: 'i32' },
      { name: 'norm', direction: 'scalar', type: 'f32' },
      { name: 'beta', direction: 'scalar', type: 'f32' },
      { name: 'kappa', direction: 'scalar', type: 'f32' },
      { name: 'maxIterations', direction: 'scalar', type: 'i32' },
    ],
  },
  affineScale: {
    id: 30,
    args: [
      { name: 'x', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'dtype', direction: 'scalar', type: 'dtype' },
      { name: 'mapping', direction: 'scalar', type: 'i32' },
      { name: 'scale', direction: 'out', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'zeroPoint', direction: 'out', type: 'u8', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
      { name: 'qmin', direction: 'scalar', type: 'i32' },
      { name: 'qmax', direction: 'scalar', type: 'i32' },
      { name: 'offset', direction: 'scalar', type: 'i32' },
      { name: 'epsilon', direction: 'scalar', type: 'f32' },
    ],
  },
  affineQuantize: {
    id: 31,
    args: [
      { name: 'x', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'dtype', direction: 'scalar', type: 'dtype' },
      { name: 'scale', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'zeroPoint', direction: 'in', type: 'u8', optional: false },
      { name: 'codes', direction: 'out', type: 'u8', optional: false },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
      { name: 'qmin', direction: 'scalar', type: 'i32' },
      { name: 'qmax', direction: 'scalar', type: 'i32' },
      { name: 'offset', direction: 'scalar', type: 'i32' },
      { name: 'reciprocal', direction: 'scalar', type: 'i32' },
    ],
  },
  affineDequantize: {
    id: 32,
    args: [
      { name: 'codes', direction: 'in', type: 'u8', optional: false },
      { name: 'qtype', direction: 'scalar', type: 'qtype' },
      { name: 'scale', direction: 'in', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'zeroPoint', direction: 'in', type: 'u8', optional: false },
      { name: 'y', direction: 'out', type: { array: 'T', dtype: 'dtype' }, optional: false },
      { name: 'dtype', direction: 'scalar', type: 'dtype' },
      { name: 'rows', direction: 'scalar', type: 'i32' },
      { name: 'cols', direction: 'scalar', type: 'i32' },
    ],
  },
} as const satisfies Record<string, Signature>
