/**
 * An array: who reads and writes it, and its elements; `{ array: 'T', dtype }` is raw bits of the dtype given
 * by that other argument.
 */
export interface ArrayArgument<Name extends string = string, Optional extends boolean = boolean> {
  readonly name: Name
  readonly direction: 'in' | 'out' | 'inout'
  readonly type: 'f32' | 'i32' | 'u8' | { readonly array: 'T'; readonly dtype: string }
  /** May be absent: address 0. */
  readonly optional: Optional
}

/** A number; dtype and qtype are the codes of `src/core/dtype.ts` and `src/core/qtype.ts`. */
export interface ScalarArgument<Name extends string = string> {
  readonly name: Name
  readonly direction: 'scalar'
  readonly type: 'i32' | 'f32' | 'dtype' | 'qtype'
}

/** Arguments of a call, by name. */
export type Named = Readonly<Record<string, unknown>>

/** What a kernel takes, and its number in command lists. */
export interface Signature {
  readonly id: number
  readonly args: readonly (ArrayArgument | ScalarArgument)[]
  /** The values of named arguments in the order of `args`: a property each, which is faster than a loop. */
  readonly inOrder: (named: Named) => unknown[]
}

/** An array that a kernel takes. */
export function array<Name extends string>(
  direction: ArrayArgument['direction'],
  name: Name,
  type: ArrayArgument['type'],
): ArrayArgument<Name, false>
export function array<Name extends string>(
  direction: ArrayArgument['direction'],
  name: Name,
  type: ArrayArgument['type'],
  optional: true,
): ArrayArgument<Name, true>
export function array(
  direction: ArrayArgument['direction'],
  name: string,
  type: ArrayArgument['type'],
  optional = false,
): ArrayArgument {
  return { name, direction, type, optional }
}

/** A number that a kernel takes. */
export function scalar<Name extends string>(name: Name, type: ScalarArgument['type']): ScalarArgument<Name> {
  return { name, direction: 'scalar', type }
}
