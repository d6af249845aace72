import { dtypes, isDType } from '../core/dtype.ts'
import { numel, type Shape, showShape } from '../core/shape.ts'
import type { PickleGlobal } from './pickle.ts'
import type { StoredDType } from './tensorFile.ts'

/*
 * What PyTorch's files name: the functions that tensors are rebuilt with, and types. Here they make
 * descriptions.
 */

/** What the values of a storage are. */
export interface StorageType {
  readonly dtype: StoredDType
  /** Of a value. */
  readonly bytes: number
}

/** A run of values that tensors are views of. */
export interface Storage {
  readonly key: string
  readonly type: StorageType
  /** How many values it holds. */
  readonly count: number
}

/** A tensor: values of a storage, with a stride for each dimension, counted in values. */
export class StoredView {
  readonly storage: Storage
  readonly type: StorageType
  readonly offset: number
  readonly shape: Shape
  readonly strides: readonly number[]

  /** @throws Error unless it lies within its storage */
  constructor(storage: unknown, offset: unknown, shape: unknown, strides: unknown, type?: unknown) {
    if (!isStorage(storage)) throw new Error('the first argument must be a storage')
    if (!isCount(offset)) throw new Error('the offset must be a whole number from 0 up')
    if (!areCounts(shape) || !areCounts(strides) || shape.length !== strides.length || shape.length > 64)
      throw new Error('sizes and strides must be as many whole numbers from 0 up')
    this.storage = storage
    this.type = isType(type) ? type : storage.type
    this.offset = offset
    this.shape = shape
    this.strides = strides
    const end = offset + this.span
    const held = Math.floor((storage.count * storage.type.bytes) / this.type.bytes)
    if (!Number.isSafeInteger(numel(shape)) || !(end <= held))
      throw new Error(
        `${showShape(shape)} must lie within the ${held} values of storage ${storage.key}; it ends at ${end}`,
      )
  }

  /** Values from the first to the last, both included. */
  get span(): number {
    if (this.shape.includes(0)) return 0
    return this.shape.reduce((sum, size, axis) => sum + (size - 1) * this.strides[axis], 1)
  }

  /** Whether its values lie behind one another in the order of the shape. */
  get isContiguous(): boolean {
    let stride = 1
    for (let axis = this.shape.length - 1; axis >= 0; axis--) {
      if (this.shape[axis] !== 1 && this.strides[axis] !== stride) return false
      stride *= this.shape[axis]
    }
    return true
  }
}

const ofDType = (dtype: StoredDType, bytes?: number): StorageType => {
  return { dtype, bytes: bytes ?? (isDType(dtype) ? dtypes[dtype].bytes : 0) }
}

/** The types of storages, by their classes in `torch`. */
const storages: Readonly<Record<string, StorageType>> = {
  DoubleStorage: ofDType('F64', 8),
  FloatStorage: ofDType('float32'),
  HalfStorage: ofDType('float16'),
  BFloat16Storage: ofDType('bfloat16'),
  LongStorage: ofDType('int64'),
  IntStorage: ofDType('int32'),
  ShortStorage: ofDType('I16', 2),
  CharStorage: ofDType('int8'),
  ByteStorage: ofDType('uint8'),
  BoolStorage: ofDType('bool'),
  ComplexFloatStorage: ofDType('C64', 8),
  ComplexDoubleStorage: ofDType('C128', 16),
}

/**
 * Types by their names in `torch`: of tensors without storages of their own, and as values beside tensors.
 */
const types: Readonly<Record<string, StorageType>> = {
  float64: storages.DoubleStorage,
  float32: storages.FloatStorage,
  float16: storages.HalfStorage,
  bfloat16: storages.BFloat16Storage,
  int64: storages.LongStorage,
  int32: storages.IntStorage,
  int16: storages.ShortStorage,
  int8: storages.CharStorage,
  uint8: storages.ByteStorage,
  bool: storages.BoolStorage,
  complex64: storages.ComplexFloatStorage,
  complex128: storages.ComplexDoubleStorage,
  float8_e4m3fn: ofDType('float8_e4m3fn'),
  float8_e5m2: ofDType('float8_e5m2'),
  float8_e4m3fnuz: ofDType('float8_e4m3fnuz'),
  float8_e5m2fnuz: ofDType('F8_E5M2FNUZ', 1),
  float8_e8m0fnu: ofDType('float8_e8m0fnu'),
  uint16: ofDType('U16', 2),
  uint32: ofDType('U32', 4),
  uint64: ofDType('U64', 8),
}

const named = (prefix: string, entries: Readonly<Record<string, StorageType>>) =>
  Object.entries(entries).map(([name, value]) => [`${prefix}.${name}`, { value }] as const)

/**
 * The globals that a file of weights may name.
 * Source: PyTorch 2.15, torch/_utils.py, `_rebuild_tensor` … `_rebuild_parameter`; torch/_tensor.py,
 * `__reduce_ex__`.
 */
export const pytorchGlobals: Readonly<Record<string, PickleGlobal>> = {
  'collections.OrderedDict': { call: ([pairs = []]) => new Map(pairs as [unknown, unknown][]) },
  'torch._utils._rebuild_tensor': {
    call: ([storage, offset, size, stride]) => new StoredView(storage, offset, size, stride),
  },
  // Behind these: whether it asks for a gradient, hooks of the way back, and what it is of an imaginary
  // number.
  'torch._utils._rebuild_tensor_v2': {
    call([storage, offset, size, stride, _gradient, _hooks, metadata]) {
      if (metadata instanceof Map && metadata.size > 0)
        throw new Error('a conjugate or negative view is not read')
      return new StoredView(storage, offset, size, stride)
    },
  },
  'torch._utils._rebuild_tensor_v3': {
    call([storage, offset, size, stride, _gradient, _hooks, dtype]) {
      if (!isType(dtype)) throw new Error('the seventh argument must be a dtype')
      return new StoredView(storage, offset, size, stride, dtype)
    },
  },
  'torch._utils._rebuild_parameter': {
    call([data]) {
      if (data instanceof StoredView) return data
      throw new Error('the first argument must be a tensor')
    },
  },
  // What may stand beside tensors, and is passed over.
  'torch.Size': { call: ([sizes = []]) => sizes },
  'torch.device': { call: ([name]) => name },
  'torch.storage.UntypedStorage': { value: ofDType('uint8') },
  ...Object.fromEntries(named('torch', { ...storages, ...types })),
}

/**
 * The storage that `('storage', type, key, location, count)` names, as a pickle refers to it.
 * @throws Error unless it is of that form
 */
export function storageOf(id: unknown): Storage {
  if (!Array.isArray(id) || id[0] !== 'storage' || !isType(id[1]) || !isCount(id[4]))
    throw new Error("must refer to storages alone, by ('storage', type, key, location, count)")
  if (id.length > 5 && id[5] !== null)
    throw new Error('must hold storages that are whole; one is a part of another')
  return { key: String(id[2]), type: id[1], count: id[4] }
}

function isType(value: unknown): value is StorageType {
  return typeof value === 'object' && value !== null && 'dtype' in value && 'bytes' in value
}

function isStorage(value: unknown): value is Storage {
  return typeof value === 'object' && value !== null && 'key' in value && 'count' in value
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function areCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isCount)
}
