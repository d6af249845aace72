// The command line of every example: options beside their defaults, and --help.
import { parseArgs } from 'node:util'

/**
 * What an option is where it is not given, which also says its type; what it does; and what it may be, if not
 * everything.
 */
type Option = readonly [byDefault: string | number | boolean, help: string, choices?: readonly string[]]

type Value<O extends Option> = O extends readonly [unknown, unknown, readonly (infer Choice)[]]
  ? Choice
  : O[0] extends string
    ? string
    : O[0] extends number
      ? number
      : boolean

/**
 * The values of an example's options, and `positionals`, the words beside them. `--help` prints all of it and
 * ends the process; so does, with an error, an option that is not there or not what it may be.
 * @param usage the command, without its options
 * @param about what the example does, and where its data comes from
 * @param words how many words beside the options it takes
 */
export function readOptions<const O extends Record<string, Option>>(
  usage: string,
  about: string,
  options: O,
  words = 0,
): { [Name in keyof O]: Value<O[Name]> } & { positionals: string[] } {
  const all: Record<string, Option> = { ...options, help: [false, 'print this'] }
  const { values, positionals } = parse(all, usage, words)
  if (values.help) {
    const names = Object.keys(all).map((name) => `--${name}`)
    const width = Math.max(...names.map((name) => name.length))
    const lines = Object.values(all).map(([byDefault, help, choices], i) => {
      const among = choices ? `: ${choices.join(', ')}` : ''
      return `  ${names[i].padEnd(width)}  ${help}${among}${byDefault === false ? '' : ` (default: ${byDefault})`}`
    })
    console.log(`npm run example ${usage} -- [OPTIONS]\n\n${about}\n\n${lines.join('\n')}`)
    process.exit()
  }
  return { ...values, positionals } as ReturnType<typeof readOptions<O>>
}

function parse(options: Record<string, Option>, usage: string, words: number) {
  const command = usage.split(' ')[0]
  const types = Object.entries(options).map(([name, [byDefault]]) => {
    return [name, { type: typeof byDefault === 'boolean' ? 'boolean' : 'string' }] as const
  })
  const { values: given, positionals } = orFail(command, () =>
    parseArgs({ options: Object.fromEntries(types), allowPositionals: true }),
  )
  if (positionals.length > words)
    fail(command, `takes at most ${words} words beside its options; received ${positionals.join(' ')}`)
  const values: Record<string, string | number | boolean> = {}
  for (const [name, [byDefault, , choices]] of Object.entries(options)) {
    const text = given[name]
    const value = typeof byDefault === 'number' && text !== undefined ? Number(text) : (text ?? byDefault)
    if (Number.isNaN(value)) fail(command, `--${name} must be a number; received ${text}`)
    if (choices && !choices.includes(String(value)))
      fail(command, `--${name} must be one of ${choices.join(', ')}; received ${value}`)
    values[name] = value as string | number | boolean
  }
  return { values, positionals }
}

function orFail<T>(command: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    return fail(command, (error as Error).message)
  }
}

/** Says what is wrong, without a stack, and ends the process. */
export function fail(command: string, message: string): never {
  console.error(`${command}: ${message}\n"npm run example ${command} -- --help" lists its options`)
  process.exit(1)
}
