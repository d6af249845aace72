import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FormatError } from '../../src/core/errors.ts'
import { JsonObject, parseJson, pythonJson, readJson } from '../../src/formats/json.ts'
import { memoryFolder } from '../../src/formats/source.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const fails = (run: () => unknown, message: string) => assert.throws(run, { name: 'FormatError', message })

test('fields are read by type, and errors name the document and the field', () => {
  const config = new JsonObject(
    parseJson(
      bytes(
        '{"hidden_size":"64","layers":2,"rope":{"factor":8},"none":null,"act":"silu","tied":true,"ids":[1,2]}',
      ),
      'config.json',
    ),
    'config.json',
  )
  assert.equal(config.positiveInteger('layers'), 2)
  assert.equal(config.object('rope').number('factor'), 8)
  assert.equal(config.positiveInteger('none', 5), 5)
  assert.equal(config.number('absent', 0.5), 0.5)
  assert.equal(config.string('act'), 'silu')
  assert.equal(config.boolean('tied'), true)
  assert.deepEqual(config.counts('ids'), [1, 2])
  assert.equal(config.has('none'), false)
  fails(
    () => config.positiveInteger('hidden_size'),
    'config.json: hidden_size must be a positive integer; received "64"',
  )
  fails(
    () => config.positiveInteger('absent'),
    'config.json: absent must be a positive integer; received nothing',
  )
  fails(() => config.positiveInteger('none'), 'config.json: none must be a positive integer; received null')
  fails(
    () => config.object('rope').positiveInteger('type'),
    'config.json: rope.type must be a positive integer; received nothing',
  )
  fails(() => config.object('layers'), 'config.json: layers must be an object; received 2')
  fails(() => config.boolean('act', true), 'config.json: act must be true or false; received "silu"')
  fails(() => config.strings('ids'), 'config.json: ids must be a list of strings; received [1,2]')
  fails(() => new JsonObject([], 'x.json'), 'x.json: the document must be an object; received []')
})

test('numbers outside their range are refused', () => {
  const numbers = new JsonObject(
    parseJson(bytes('{"zero":0,"negative":-1,"half":0.5,"huge":9007199254740992,"infinite":1e999}'), 'n'),
    'n',
  )
  for (const key of ['zero', 'negative', 'half', 'huge', 'infinite'])
    assert.throws(() => numbers.positiveInteger(key), FormatError)
  assert.equal(numbers.count('zero'), 0)
  assert.throws(() => numbers.number('infinite'), {
    message: 'n: infinite must be a finite number; received null',
  })
})

test('keys of Object.prototype are plain keys', () => {
  const object = new JsonObject(parseJson(bytes('{"__proto__":{"polluted":1},"constructor":2}'), 'x'), 'x')
  assert.deepEqual(object.keys(), ['__proto__', 'constructor'])
  assert.equal(object.object('__proto__').number('polluted'), 1)
  assert.equal(object.has('toString'), false)
  assert.equal('polluted' in {}, false)
})

test('only strict UTF-8 and strict JSON within the limits are read', () => {
  const parse = (text: string | Uint8Array, options = {}) =>
    parseJson(typeof text === 'string' ? bytes(text) : text, 'x', options)
  fails(() => parse(new Uint8Array([0x22, 0xff, 0x22])), 'x: text must be valid UTF-8; it is not')
  assert.throws(() => parse('\ufeff{}'), FormatError)
  for (const text of [
    '',
    '{',
    '{"a":1,}',
    "{'a':1}",
    '{"a":NaN}',
    '[1] 2',
    '"\n"',
    '"a',
    ']]]',
    '{"a":01}',
  ]) {
    assert.throws(() => parse(text), /^FormatError: x: must be JSON; /)
  }
  fails(() => parse('{"a":1}', { maxBytes: 6 }), 'x: must have at most 6 bytes; it has 7')
  assert.deepEqual(parse('[[["[[["]]]', { maxDepth: 3 }), [[['[[[']]])
  fails(
    () => parse('[[[[]]]]', { maxDepth: 3 }),
    'x: values must nest at most 3 deep; they nest deeper at character 3',
  )
  assert.throws(() => parse('['.repeat(1_000_000)), FormatError)
})

test('a key named twice is refused where asked, however it is spelled', () => {
  const unique = (text: string) => parseJson(bytes(text), 'x', { uniqueKeys: true })
  assert.deepEqual(unique('{"a":{"a":"a"},"b":["a","a"],"c":{"a":1}}'), {
    a: { a: 'a' },
    b: ['a', 'a'],
    c: { a: 1 },
  })
  fails(() => unique('{"a":1,"b":2,"a":3}'), 'x: a key must appear once; "a" appears twice')
  fails(() => unique('{"a":1,"\\u0061":3}'), 'x: a key must appear once; "a" appears twice')
  fails(
    () => unique(`{"a":{"b":[{}]},"a"${' '.repeat(100)}:3}`),
    'x: a key must appear once; "a" appears twice',
  )
  assert.deepEqual(parseJson(bytes('{"a":1,"a":2}'), 'x'), { a: 2 })
})

test('pythonJson writes what json.dumps writes', () => {
  // python3 -c 'import json; print(json.dumps({"é\x7f": ["\U0001f600", 1.5], "e": {}}, indent=4))'
  const python = '{\n    "\\u00e9\\u007f": [\n        "\\ud83d\\ude00",\n        1.5\n    ],\n    "e": {}\n}'
  assert.equal(pythonJson({ 'é\x7f': ['\u{1f600}', 1.5], e: {} }, 4), python)
})

test('readJson names the file that is absent or too large', async () => {
  const folder = memoryFolder(new Map([['config.json', bytes('{"a":1}')]]), 'model')
  assert.equal((await readJson(folder, 'config.json')).number('a'), 1)
  await assert.rejects(readJson(folder, 'other.json'), {
    message: 'model: must hold other.json; there is no such file',
  })
  await assert.rejects(readJson(folder, 'config.json', { maxBytes: 3 }), {
    message: 'model/config.json: must have at most 3 bytes; it has 7',
  })
})
