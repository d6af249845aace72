/** One call that takes options, and all the options it has; those that it cannot do without with a value. */
export interface Call {
  run: (options: never) => unknown
  options: Readonly<Record<string, unknown>>
}
/**
 * Lists the options of an interface, every one of them and no other: to be left out, or with a value that is
 * needed.
 */
export const call = <Options>(
  run: (options: Options) => unknown,
  options: Record<keyof Required<Options>, unknown>,
): Call => ({ run, options })

/** Options that are not given. */
export function unset<Name extends string>(...names: Name[]): Record<Name, undefined> {
  return Object.fromEntries(names.map((name) => [name, undefined])) as Record<Name, undefined>
}
