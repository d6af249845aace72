import type { ArrayArgument } from '../kernels/signature.ts'
import type { KernelName, signatures } from '../kernels/signatures.ts'
import type { Pool } from './pool.ts'
import type { Region, Storage } from './storage.ts'

/** A number that a kept command list takes anew each time it runs: a position, a length. */
export class Scalar {
  value: number

  constructor(value: number) {
    this.value = value
  }
}

/** The number that an argument stands for now. */
export function currentValue(argument: number | Scalar): number {
  return argument instanceof Scalar ? argument.value : argument
}

/** What a kernel takes: an array, an absent array, or a scalar. */
export type Argument = Region | number | Scalar | null | undefined

type Parameter<Name extends KernelName> = (typeof signatures)[Name]['args'][number]
type OptionalArray = ArrayArgument<string, true>

/**
 * What a kernel takes, by the names of `kernels.def`: arrays as regions (tensors are), of which the optional
 * may be null or absent, and numbers.
 */
export type KernelArguments<Name extends KernelName> = {
  readonly [P in Exclude<Parameter<Name>, OptionalArray> as P['name']]: P extends ArrayArgument
    ? Region
    : number | Scalar
} & {
  readonly [P in Extract<Parameter<Name>, OptionalArray> as P['name']]?: Region | null
}

/**
 * Records of kernel calls: numbers as the backend takes them, and the places of the scalars that may change.
 * A list is a Float64Array: addresses below 2⁵³, sizes and scalars are all exact in it, and one decoder
 * serves memory of 64-bit and of 32-bit addresses.
 */
export class Records {
  private words = new Float64Array(1024)
  private length = 0
  /** How many calls. */
  count = 0
  private readonly scalars: [index: number, scalar: Scalar][] = []
  /** What the calls use; noted only where they are kept. */
  readonly storages = new Set<Storage>()
  private readonly kept: boolean

  constructor(kept: boolean) {
    this.kept = kept
  }

  get empty(): boolean {
    return this.count === 0
  }

  /** Appends one call; every region has been checked. */
  push(id: number, args: readonly Argument[]): void {
    if (this.length + args.length + 1 > this.words.length) this.grow()
    this.words[this.length++] = id
    for (const arg of args) {
      if (arg instanceof Scalar) this.scalars.push([this.length, arg])
      else if (this.kept && typeof arg === 'object' && arg !== null) this.storages.add(arg.storage)
      this.words[this.length++] = wordOf(arg)
    }
    this.count++
  }

  /** The records as one list of its own, with the scalars' values of now. */
  list(): ReturnType<typeof Float64Array.of> {
    for (const [index, scalar] of this.scalars) this.words[index] = scalar.value
    return this.words.slice(0, this.length)
  }

  clear(): void {
    this.length = 0
    this.count = 0
    this.scalars.length = 0
  }

  private grow(): void {
    const words = new Float64Array(2 * this.words.length)
    words.set(this.words)
    this.words = words
  }
}

function wordOf(arg: Argument): number {
  if (arg == null) return 0
  if (typeof arg === 'number') return arg
  return arg instanceof Scalar ? arg.value : arg.storage.address + arg.byteOffset
}

/**
 * A command list that is kept and run again: with buffers of its own, which it reuses within itself, and
 * scalars that are read anew each time. It holds every storage that it uses, so that it may outlive the
 * tensors.
 */
export class CommandList {
  private readonly records: Records
  private readonly pool: Pool
  /** Storages that others made. */
  private readonly borrowed: Storage[]
  private readonly submit: (list: Float64Array) => void
  private disposed = false

  constructor(records: Records, pool: Pool, submit: (list: Float64Array) => void) {
    this.records = records
    this.pool = pool
    this.submit = submit
    // Its own are reused within the list and live as long as their pool.
    this.borrowed = [...records.storages].filter((storage) => storage.owner !== pool)
    for (const storage of this.borrowed) storage.retain()
  }

  /** How many kernel calls it holds. */
  get length(): number {
    return this.records.count
  }

  /** Appends the whole list to the queue. */
  run(): void {
    this.submit(this.records.list())
  }

  /** Lets go of everything that it holds. */
  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    for (const storage of this.borrowed) storage.release()
    this.pool.retire()
  }
}
