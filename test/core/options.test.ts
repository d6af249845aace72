import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DTypeError, ShapeError } from '../../src/core/errors.ts'
import {
  aBoolean,
  aFunction,
  check,
  either,
  type Kind,
  listOf,
  oneOf,
  orNull,
  show,
  wholeNumber,
  within,
} from '../../src/core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../../src/core/options.ts'

interface Options {
  weights: string
  exclude?: string
  maxNewTokens?: number
  groupSize?: number | null
}

const kinds: OptionKinds<Options> = {
  weights: required({ ...oneOf('int4', 'int8'), error: DTypeError }),
  exclude: { must: 'be a glob', holds: (value) => typeof value === 'string' },
  maxNewTokens: wholeNumber(0),
  groupSize: orNull(wholeNumber(1)),
}

/** The sentence that answers these options; null where they are taken. */
function answer(options: unknown, table: OptionKinds<Options> = kinds): string | null {
  try {
    checkOptions('run', options as Options, table, { optimizer: 'what chooses scales is "algorithm"' })
    return null
  } catch (error) {
    assert.ok(error instanceof ShapeError || error instanceof DTypeError)
    return error.message
  }
}

test('options that there are, of their kinds, are taken; undefined is left out', () => {
  for (const options of [
    { weights: 'int4' },
    { weights: 'int8', exclude: 'fc*', maxNewTokens: 0, groupSize: null },
    { weights: 'int8', exclude: undefined, groupSize: 32 },
    Object.assign(Object.create(null), { weights: 'int4' }),
  ])
    assert.equal(answer(options), null)
})

test('an unknown option is told the nearest one, whatever its case and underscores; one that is like none, all', () => {
  assert.equal(
    answer({ weights: 'int4', excludes: 'fc' }),
    'run: unknown option "excludes"; did you mean "exclude"?',
  )
  assert.equal(
    answer({ weights: 'int4', max_new_tokens: 1 }),
    'run: unknown option "max_new_tokens"; did you mean "maxNewTokens"?',
  )
  assert.equal(
    answer({ weights: 'int4', GROUPSIZE: 1 }),
    'run: unknown option "GROUPSIZE"; did you mean "groupSize"?',
  )
  assert.equal(
    answer({ lr: 1 }),
    'run: unknown option "lr"; there are weights, exclude, maxNewTokens, groupSize',
  )
  // No name of an object's own prototype is an option.
  assert.match(answer({ weights: 'int4', constructor: 1 }) ?? '', /^run: unknown option "constructor"/)
  assert.match(answer({ weights: 'int4', excludes: undefined }) ?? '', /^run: unknown option "excludes"/)
})

test('an option of a former version is told the new one', () => {
  assert.equal(
    answer({ weights: 'int4', optimizer: 'hqq' }),
    'run: unknown option "optimizer"; what chooses scales is "algorithm"',
  )
})

test('values of another kind, and what is missing, are told what must hold', () => {
  assert.equal(answer({ weights: 'int3' }), 'run: weights must be int4 or int8; received "int3"')
  assert.equal(answer({}), 'run: weights must be int4 or int8; received nothing')
  assert.equal(answer(undefined), 'run: weights must be int4 or int8; received nothing')
  assert.equal(
    answer({ weights: 'int4', maxNewTokens: 1.5 }),
    'run: maxNewTokens must be a whole number, 0 or more; received 1.5',
  )
  assert.equal(
    answer({ weights: 'int4', groupSize: '32' }),
    'run: groupSize must be a whole number, 1 or more, or null; received "32"',
  )
})

test('what is no object of options is refused', () => {
  const must = 'run: options must be an object with weights, exclude, maxNewTokens, groupSize; received'
  assert.equal(answer('int4'), `${must} "int4"`)
  assert.equal(answer(null), `${must} null`)
  assert.equal(answer(['int4']), `${must} ["int4"]`)
  assert.equal(
    answer(() => 1),
    `${must} a function`,
  )
  assert.equal(answer(new AbortController().signal), `${must} an AbortSignal`)
  assert.equal(
    answer(
      new (class Device {
        private backend = 1
      })(),
    ),
    `${must} a Device`,
  )
})

test('an instance that has options of these names is taken', () => {
  class Settings {
    weights = 'int4'
  }
  assert.equal(answer(new Settings()), null)
})

test('kinds: what they hold for, and what they say', () => {
  const cases: [kind: Kind, must: string, good: unknown[], bad: unknown[]][] = [
    [wholeNumber(1, 8), 'be a whole number in 1..8', [1, 8], [0, 9, 1.5, NaN, '1', 1n, null]],
    [wholeNumber(-Infinity), 'be a whole number', [-3, 0], [Infinity, 0.5]],
    [within(0, 1, { excluded: 1 }), 'lie in 0..1, 1 excluded', [0, 0.99], [1, -0.1, NaN, '0']],
    [oneOf('a', 'b', 'c'), 'be a, b or c', ['a', 'c'], ['d', '', 0, undefined]],
    [
      listOf('sizes', wholeNumber(1), 2),
      'be a list of 2 sizes',
      [[1, 2], Int32Array.of(1, 2)],
      [[1], [1, 0], 'ab', { length: 2 }, [[1, 2]]],
    ],
    [
      either('be true, false or a function', aBoolean, aFunction),
      'be true, false or a function',
      [true, () => 1],
      ['true', 1],
    ],
  ]
  for (const [kind, must, good, bad] of cases) {
    assert.equal(kind.must, must)
    for (const value of good) assert.equal(kind.holds(value), true, `${must}: ${show(value)}`)
    for (const value of bad) {
      assert.equal(kind.holds(value), false, `${must}: ${show(value)}`)
      assert.throws(() => check('f', 'x', value, kind), {
        name: 'ShapeError',
        message: `f: x must ${must}; received ${show(value)}`,
      })
    }
  }
})

test('what was received is shown in few words', () => {
  class Net {}
  const shown = [
    [undefined, 'nothing'],
    [null, 'null'],
    ['awq', '"awq"'],
    ['x'.repeat(100), `"${'x'.repeat(80)}…"`],
    ['two\nlines', '"two\\nlines"'],
    [-0.5, '-0.5'],
    [NaN, 'NaN'],
    [5n, '5n'],
    [Symbol('s'), 'Symbol(s)'],
    [[1, 2], '[1,2]'],
    [[[1], [2]], 'a list of 2'],
    [new Float32Array(3), 'a Float32Array'],
    [{}, 'an object'],
    [Object.create(null), 'an object'],
    [{ constructor: 3 }, 'an object'],
    [new Net(), 'a Net'],
    [new Error('x'), 'an Error'],
    [Net, 'the function Net'],
  ] as const
  for (const [value, text] of shown) assert.equal(show(value), text)
})
