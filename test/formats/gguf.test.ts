import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileSource } from '../../src/formats/file.node.ts'
import { openGguf } from '../../src/formats/gguf.ts'
import { type ByteSource, bytesSource } from '../../src/formats/source.ts'
import {
  bool,
  f32,
  fixtures,
  float32,
  gguf,
  list,
  type Parts,
  string,
  strings,
  text,
  u32,
  u64,
  uint32,
  type Value,
} from './ggufBytes.ts'

/** An F32 tensor of 8 values, with what is given instead. */
const tensor = (fields: Partial<NonNullable<Parts['tensors']>[number]> = {}) => ({
  name: 't',
  sizes: [8],
  type: 0,
  offset: 0,
  ...fields,
})

async function refuses(
  file: Parts | Uint8Array,
  message: string | RegExp,
  where: { byteOffset?: number; tensor?: string } = {},
): Promise<void> {
  let closed = false
  let requested = 0
  const bytes = file instanceof Uint8Array ? file : gguf(file)
  const inner = bytesSource(bytes, 'x')
  const source: ByteSource = {
    ...inner,
    async read(offset, length) {
      requested += length
      return inner.read(offset, length)
    },
    async close() {
      closed = true
    },
  }
  await assert.rejects(openGguf(source), { name: 'FormatError', message, ...where })
  assert.ok(closed, 'a refused file is closed')
  assert.ok(requested <= bytes.length, `${requested} bytes asked of ${bytes.length}`)
}

const opened = (parts: Parts) => openGguf(bytesSource(gguf(parts), 'x'))

test('reads what the Python library wrote', async () => {
  const file = await openGguf(await fileSource(`${fixtures}stories260K-q5_1.gguf`))
  const { metadata, tensors } = file
  // As gguf.GGUFReader prints them.
  assert.equal(metadata.string('general.architecture'), 'llama')
  assert.equal(metadata.count('llama.feed_forward_length'), 172)
  assert.equal(metadata.positive('llama.attention.layer_norm_rms_epsilon'), 9.999999747378752e-6)
  assert.equal(metadata.boolean('tokenizer.ggml.add_bos_token'), true)
  assert.equal(metadata.boolean('tokenizer.ggml.add_eos_token'), false)
  assert.deepEqual(metadata.strings('tokenizer.ggml.tokens').slice(255, 263), [
    '<0xFC>',
    '<0xFD>',
    '<0xFE>',
    '<0xFF>',
    '▁t',
    'he',
    '▁a',
    '▁s',
  ])
  assert.deepEqual(metadata.numbers('tokenizer.ggml.scores').slice(-3), [-250, -251, -252])
  assert.deepEqual(metadata.numbers('tokenizer.ggml.token_type').slice(0, 4), [2, 3, 3, 6])
  assert.equal(tensors.size, 47)
  assert.deepEqual(tensors.get('token_embd.weight'), {
    name: 'token_embd.weight',
    dtype: 'Q5_1',
    shape: [512, 64],
    byteOffset: 14336,
    byteLength: 24576,
  })
  assert.deepEqual(tensors.get('blk.0.ffn_down.weight')?.shape, [64, 172])
  assert.equal(tensors.get('blk.0.ffn_down.weight')?.dtype, 'float16')
  const whole = await file.read('token_embd.weight')
  assert.deepEqual(await file.readRows('token_embd.weight', 3, 5), whole.subarray(3 * 48, 5 * 48))
  await assert.rejects(
    file.readRows('token_embd.weight', 0, 513),
    /rows of "token_embd.weight" must lie in 0..512; asked for 0..513/,
  )
  await assert.rejects(file.read('none'), /tensor "none" must be in the file; it is not/)
  await file.close()
})

test('the header is read in chunks, without the tensors behind it', async () => {
  const inner = await fileSource(`${fixtures}stories260K-q8_0.gguf`)
  const reads: number[] = []
  const read = (offset: number, length: number) => {
    reads.push(length)
    return inner.read(offset, length)
  }
  const file = await openGguf({ ...inner, read })
  assert.deepEqual(reads, [65536])
  await file.close()
})

test('magic and version', async () => {
  await refuses(
    Buffer.alloc(0),
    "x: the magic number must lie within the file's 0 bytes; it would end at 4 (byte 0)",
    { byteOffset: 0 },
  )
  await refuses({ magic: 'GGML' }, 'x: a GGUF file must begin with "GGUF"; it does not (byte 0)', {
    byteOffset: 0,
  })
  await refuses(
    { version: u32(1) },
    'x: the version must be 2 or 3, little-endian; it is 1, so convert the model again (byte 4)',
  )
  await refuses({ version: u32(4) }, 'x: the version must be 2 or 3, little-endian; it is 4 (byte 4)', {
    byteOffset: 4,
  })
  await refuses(
    { version: Buffer.from([0, 0, 0, 3]) },
    'x: the version must be 2 or 3, little-endian; it is 3 in big-endian order (byte 4)',
  )
  await (await opened({ version: u32(2) })).close()
})

test('counts that the file cannot hold are refused before anything is made for them', async () => {
  await refuses(
    { tensorCount: 2n ** 60n },
    'x: the number of tensors must be at most 1048576; it is 1152921504606846976 (byte 8)',
    {
      byteOffset: 8,
    },
  )
  await refuses(
    { keyCount: 2n ** 60n },
    /the number of metadata keys must be at most 65536; it is 1152921504606846976 \(byte 16\)/,
  )
  await refuses(
    { keyCount: 60_000 },
    /the number of metadata keys must fit into the file, which has room for 0; it is 60000/,
  )
  await refuses(
    { tensorCount: 1_000_000 },
    /the number of tensors must fit into the file, which has room for 0; it is 1000000/,
  )
  const huge = (type: number) => ({ keys: { a: list(type, 2n ** 60n) } })
  for (const type of [0, 4, 8, 10])
    await refuses(
      huge(type),
      /metadata "a": the number of elements must be at most 0; it is 1152921504606846976/,
    )
  await refuses(
    { keys: { a: list(8, 10_000_000, Buffer.alloc(80_000_000)) } },
    /the number of elements must be at most 4194304; it is 10000000/,
  )
  await refuses(
    Buffer.concat([gguf({ keyCount: 1 }), text('', 2n ** 63n), Buffer.alloc(20)]),
    /length of metadata key 0 must be at most 65535; it is 9223372036854775808/,
  )
  await refuses(
    { keys: { a: [8, text('', 2n ** 40n)] } },
    /the length of metadata "a" must be at most 268435456; it is 1099511627776/,
  )
  await refuses(
    { keys: { a: list(8, 1, text('', 2n ** 62n)) } },
    /metadata "a": string 0 must have at most 268435456 bytes/,
  )
  await refuses(
    { keys: { a: list(8, 1, text('abc', 4n)) } },
    /metadata "a" must lie within the file's 60 bytes; it would end at 61/,
  )
})

test('a million strings pass quickly', async () => {
  const started = performance.now()
  const file = await opened({ keys: { a: list(8, 1_000_000, Buffer.alloc(8_000_000)) } })
  assert.equal(file.metadata.strings('a').length, 1_000_000)
  assert.ok(performance.now() - started < 5000)
})

test('every prefix of a file is refused', async () => {
  const whole = gguf({
    keys: { a: uint32(1), b: strings('x', 'y'), c: string('z') },
    tensors: [tensor()],
    dataBytes: 32,
  })
  await (await openGguf(bytesSource(whole))).close()
  for (let length = 0; length < whole.length; length++) await refuses(whole.subarray(0, length), /^x: /)
})

test('keys', async () => {
  await refuses(
    {
      keys: [
        ['a', uint32(1)],
        ['a', uint32(1)],
      ],
    },
    'x: a metadata key must appear once; "a" appears twice (byte 41)',
    { byteOffset: 41 },
  )
  await refuses(
    { keys: [[Buffer.from([0xff, 0xfe]), uint32(1)]] },
    'x: metadata key 0 at byte 32: text must be valid UTF-8; it is not',
    {
      byteOffset: 32,
    },
  )
  await refuses(
    { keys: { a: [13, Buffer.alloc(8)] } },
    'x: metadata "a" must be of a type from 0 to 12; it is of type 13 (byte 33)',
  )
  await refuses({ keys: { a: [0xffffffff, Buffer.alloc(8)] } }, /it is of type 4294967295/)
  await refuses(
    { keys: { a: list(13, 0) } },
    /metadata "a": element must be of a type from 0 to 12; it is of type 13/,
  )
  await refuses(
    { keys: { a: list(9, 1, ...[u32(4), u64(0)]) } },
    /metadata "a" must be a flat list; it holds lists/,
  )
  await refuses({ keys: { a: bool(2) } }, /metadata "a" must be a bool, 0 or 1; it is 2/)
})

test('values are given by type, and errors say what was asked for', async () => {
  const keys: Record<string, Value> = {
    i8: [1, Buffer.from([0xff])],
    i16: [3, Buffer.from([0xfe, 0xff])],
    i64: [11, u64(2n ** 64n - 5n)],
    u64: [10, u64(2n ** 60n)],
    f64: [12, Buffer.from([0, 0, 0, 0, 0, 0, 0xf8, 0x3f])],
    nan: float32(NaN),
    text: string('hi'),
    // "é" cut in two, and an empty string: tokens may end within a character.
    tokens: strings(Buffer.from([0xc3]), Buffer.from([0xa9]), '', 'é😀'),
    clean: strings('', 'é😀', 'Ġ', ''),
    floats: list(6, 2, f32(1.5), f32(-2)),
  }
  const { metadata } = await opened({ keys })
  assert.equal(metadata.positive('f64'), 1.5)
  assert.deepEqual(metadata.strings('tokens'), ['\ufffd', '\ufffd', '', 'é😀'])
  assert.deepEqual(metadata.strings('clean'), ['', 'é😀', 'Ġ', ''])
  assert.deepEqual(metadata.numbers('floats'), [1.5, -2])
  assert.equal(metadata.count('none', 7), 7)
  const fails = (read: () => unknown, message: RegExp) =>
    assert.throws(read, { name: 'FormatError', message })
  fails(
    () => metadata.count('i8'),
    /^x: metadata "i8" must be an integer, 0 or more; received -1 \(byte 38\)$/,
  )
  fails(() => metadata.count('i16'), /received -2/)
  fails(() => metadata.count('i64'), /received -5/)
  fails(
    () => metadata.positiveInteger('u64'),
    /"u64" must be a positive integer; received 1152921504606847000/,
  )
  fails(() => metadata.positive('nan'), /must be a finite number above 0; received NaN/)
  fails(() => metadata.count('text', 7), /received "hi"/)
  fails(() => metadata.string('tokens'), /must be a string; received "4 × string"/)
  fails(() => metadata.strings('floats'), /must be a list of strings; received "2 × float32"/)
  fails(() => metadata.numbers('clean'), /must be a list of numbers; received "4 × string"/)
  fails(() => metadata.string('gone'), /metadata "gone" must be a string; it is missing$/)
})

test('alignment', async () => {
  for (const bad of [0, 24, 33, 2 ** 17, 2 ** 31]) {
    await refuses(
      { keys: { 'general.alignment': uint32(bad) } },
      /metadata "general.alignment" must be a (power of two, at most 65536|positive integer); received \d+/,
    )
  }
  const parts = (alignment: number, offset: number) => ({
    keys: { 'general.alignment': uint32(alignment) },
    tensors: [tensor(), tensor({ name: 'u', offset })],
    alignment,
    dataBytes: 512,
  })
  const file = await opened(parts(128, 128))
  assert.equal(file.tensors.get('u')?.byteOffset, 128 + 128)
  await refuses(parts(128, 64), /tensor "u" must start at a multiple of 128 bytes; its offset is 64/, {
    tensor: 'u',
  })
})

test('tensors', async () => {
  const one = (fields: Parameters<typeof tensor>[0], dataBytes = 32) => ({
    tensors: [tensor(fields)],
    dataBytes,
  })
  await refuses(one({ sizes: [0] }), 'x: tensor "t" must have sizes of 1 or more; one is 0 (byte 24)', {
    byteOffset: 24,
    tensor: 't',
  })
  await refuses(
    one({ sizes: [2n ** 60n] }),
    /size must be at most 9007199254740991; it is 1152921504606846976/,
  )
  await refuses(
    one({ sizes: [2 ** 30, 2 ** 30] }),
    /must hold fewer than 2\^53 values; its shape is \[1073741824,1073741824\]/,
  )
  await refuses(one({ sizes: [1, 1, 1, 1, 1] }), /must have at most 4 dimensions; it has 5/)
  await refuses(
    one({ sizes: [8, 2 ** 40] }),
    /must lie within the file's 128 bytes; it ends at 35184372088928/,
  )
  await refuses(
    one({ sizes: [48], type: 2 }),
    /must have rows of whole blocks of 32 values, being Q4_0; its shape is \[48\]/,
  )
  await refuses(one({ offset: 32 }), /must lie within the file's 96 bytes; it ends at 128/)
  await refuses(one({ offset: 2n ** 60n }), /offset must be at most 9007199254740991/)
  await refuses(
    one({ name: Buffer.from([0xff]) }),
    /the name of tensor 0 at byte 32: text must be valid UTF-8/,
  )
  await refuses(one({}, 31), /tensor "t" must lie within the file's 95 bytes; it ends at 96/)
  await refuses(
    { tensors: [tensor(), tensor()], dataBytes: 64 },
    /tensor "t" must appear once; it appears twice/,
  )
  const two = (offset: number) => ({
    tensors: [tensor({ sizes: [16], offset }), tensor({ name: 'u' })],
    dataBytes: 128,
  })
  await refuses(two(0), /tensor "u" must not overlap "t", which ends at 160; it starts at 96/, {
    tensor: 'u',
  })
  const file = await opened(two(64))
  assert.deepEqual([...file.tensors.keys()], ['t', 'u'])
  assert.deepEqual(file.tensors.get('t'), {
    name: 't',
    dtype: 'float32',
    shape: [16],
    byteOffset: 160,
    byteLength: 64,
  })
})

test('a tensor of an unknown type is an error only when it is asked for', async () => {
  const file = await opened({
    tensors: [tensor({ name: 'new', type: 99, sizes: [7] }), tensor()],
    dataBytes: 32,
  })
  assert.deepEqual([...file.unknown], [['new', { name: 'new', type: 'type 99' }]])
  assert.equal((await file.read('t')).length, 32)
  await assert.rejects(file.read('new'), {
    name: 'FormatError',
    message: 'x: tensor "new" must be of a type that lowbit knows; it is of type 99',
    tensor: 'new',
  })
})
