import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import * as lb from '../src/index.ts'
import { calls, device, net, x } from './optionCalls.ts'

/*
 * Every public function that takes options refuses those that it does not have, and values that they cannot
 * have; whatever any public function is given, it answers by one sentence of one of the four classes.
 */

/** What a call says, in one sentence of one of the four classes; null where it was taken. */
async function said(run: () => unknown): Promise<string | null> {
  const error: unknown = await (async () => run())().then(
    () => null,
    (error) => error,
  )
  if (error === null) return null
  assert.ok(error instanceof Error)
  assert.match(error.name, /^(Shape|DType|Format|Device)Error$/, `${error.name}: ${error.message}`)
  assert.match(error.message, /^[\x20-\x7e…·–—→×≤≥−]{10,400}$/)
  return error.message
}

for (const [name, { run, options }] of Object.entries(calls)) {
  const attempt = (given: unknown) => said(() => run(given as never))

  test(`${name} takes its options, and refuses others`, async () => {
    assert.match(
      (await attempt({ ...options, noSuchOption: 1 })) ?? 'accepted',
      /unknown option "noSuchOption"/,
    )
    for (const option of Object.keys(options)) {
      // No option is a list of null.
      assert.match(
        (await attempt({ ...options, [option]: [null] })) ?? 'accepted',
        new RegExp(`: ${option} must `),
      )
    }
  })

  // Those with a comma spread their options among others.
  if (name.includes(',')) continue
  test(`${name} refuses what are no options`, async () => {
    // A layer without a recipe stays as it is.
    const nothing = name === 'quantizeByName' ? [] : [null]
    for (const given of ['int8', 1, ...nothing, [options], () => options])
      assert.ok(await attempt(given), `accepted ${typeof given}`)
  })
}

type Callable = (...args: never[]) => unknown
type Class = new (...args: never[]) => unknown

/**
 * Every public function and class by name, those of `ops` and `transforms` and what makes tensors among them.
 */
const exported = Object.entries<unknown>({
  ...lb,
  ...prefixed('ops.', lb.ops),
  ...prefixed('transforms.', lb.transforms),
  ...prefixed(
    'Tensor.',
    Object.fromEntries(
      Object.entries(Object.getOwnPropertyDescriptors(lb.Tensor)).map(([name, { value }]) => [name, value]),
    ),
  ),
}).filter((entry): entry is [string, Callable | Class] => typeof entry[1] === 'function')

function prefixed(prefix: string, members: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).map(([name, value]) => [prefix + name, value]))
}

const isClass = (value: Callable | Class): value is Class => /^class\b/.test(String(value))

test('every public function that takes options is above', () => {
  const parameters = (value: Callable | Class) =>
    String(value)
      .replace(isClass(value) ? /^[\s\S]*?constructor/ : '', '')
      .split('{')[0]
  const taking = exported
    .filter(([, value]) => /\b(options|settings)\b/.test(parameters(value)))
    .map(([name]) => name)
  assert.ok(taking.length > 60, `${taking.length} were found`)
  assert.deepEqual(
    taking.filter((name) => !Object.hasOwn(calls, name)),
    [],
  )
})

// Some take a word for a path, and write there.
const folder = mkdtempSync(join(tmpdir(), 'lowbit-'))
process.chdir(folder)
after(() => rmSync(folder, { recursive: true }))

/** What takes no arguments, or anything: layers without settings, errors, and what passes values on. */
const takesAnything = [
  ...['ReLU', 'SiLU', 'Sigmoid', 'Tanh', 'Identity', 'Module', 'CausalLM', 'keep'],
  ...['ShapeError', 'DTypeError', 'DeviceError', 'FormatError'],
  // Its constructor is private.
  'Tokenizer',
]

for (const [name, value] of exported.filter(([name]) => !takesAnything.includes(name))) {
  test(`${name} answers nonsense by one sentence`, async () => {
    const run = (...args: unknown[]) =>
      said(async () => {
        const result = isClass(value) ? new value(...(args as never[])) : value(...(args as never[]))
        // A generator begins when it is asked.
        return ['generateTokens', 'stream'].includes(name) ? (result as AsyncGenerator).next() : result
      })
    assert.ok(await run(null), 'accepted null')
    const nonsense = [undefined, 'x', NaN, -1.5, 5n, {}, [], [[1, 2], [3]], new Map(), () => 1, device, x]
    for (const one of nonsense) {
      await run(one)
      await run(x, one)
      await run(device, one)
      await run(net, one)
    }
    await run()
    await run(device, [1, 2], [2], 'float23')
  })
}
