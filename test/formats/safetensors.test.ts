import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileSource } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { bytesSource } from '../../src/formats/source.ts'
import { fixtures } from './golden.ts'

interface Expected {
  metadata: Record<string, string>
  tensors: Record<string, { dtype: string; shape: number[]; bytes: string }>
}

const expected: Record<string, Expected> = JSON.parse(readFileSync(`${fixtures}expected.json`, 'utf8'))

/** A file of that header and of `dataBytes` bytes after it; the header's length may lie. */
function file(header: string | Uint8Array, dataBytes: number, length?: bigint): Uint8Array {
  const json = typeof header === 'string' ? new TextEncoder().encode(header) : header
  const bytes = new Uint8Array(8 + json.length + dataBytes)
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true)
  bytes.set(json, 8)
  return bytes
}

/** The entry of a float32 tensor, with what is given instead. */
function entry(fields: Record<string, unknown> = {}): string {
  return JSON.stringify({ dtype: 'F32', shape: [2], data_offsets: [0, 8], ...fields })
}

async function refuses(
  bytes: Uint8Array,
  message: string | RegExp,
  where: { byteOffset?: number; tensor?: string } = {},
): Promise<void> {
  let closed = false
  const close = async () => {
    closed = true
  }
  const source = { ...bytesSource(bytes, 'x'), close }
  await assert.rejects(openSafetensors(source), { name: 'FormatError', message, ...where })
  assert.ok(closed, 'a refused file is closed')
}

test('reads what the Python library wrote', async () => {
  for (const [name, { metadata, tensors }] of Object.entries(expected)) {
    const opened = await openSafetensors(await fileSource(fixtures + name))
    assert.deepEqual(Object.fromEntries(opened.texts), metadata, name)
    assert.equal(opened.tensors.size, Object.keys(tensors).length, name)
    for (const [tensor, { dtype, shape, bytes }] of Object.entries(tensors)) {
      if (dtype === 'float64') continue
      const info = opened.tensors.get(tensor)
      assert.deepEqual(
        { dtype: info?.dtype, shape: info?.shape, byteLength: info?.byteLength },
        { dtype, shape, byteLength: bytes.length / 2 },
      )
      assert.equal(Buffer.from(await opened.read(tensor)).toString('hex'), bytes, `${name} ${tensor}`)
    }
    await opened.close()
  }
})

test('a dtype without values here is named as in the file, and its bytes can be had', async () => {
  const opened = await openSafetensors(await fileSource(`${fixtures}unsupported.safetensors`, 'x'))
  assert.equal(opened.tensors.get('wide')?.dtype, 'F64')
  assert.deepEqual([...new Uint8Array(await opened.read('known'))], [0, 0, 0x20, 0x40])
  // 1.5 as float64.
  assert.equal(Buffer.from(await opened.read('wide')).toString('hex'), '000000000000f83f')
  await assert.rejects(opened.read('none'), {
    message: 'x: tensor "none" must be in the file; it is not',
    tensor: 'none',
  })
  await opened.close()
})

test('header lengths that lie are refused before anything is allocated', async () => {
  await refuses(new Uint8Array(0), 'x: a safetensors file must have at least 8 bytes; it has 0', {
    byteOffset: 0,
  })
  await refuses(new Uint8Array(7), 'x: a safetensors file must have at least 8 bytes; it has 7', {
    byteOffset: 0,
  })
  const tooLong = 'x: the header must have at most 100000000 bytes; its length says 9223372036854775808'
  await refuses(file('{}', 0, 2n ** 63n), tooLong, { byteOffset: 0 })
  await refuses(file('{}', 0, 2n ** 64n - 1n), /its length says 18446744073709551615/)
  await refuses(file('{}', 0, 100_000_001n), /its length says 100000001/)
  await refuses(file('{}', 0, 3n), "x: the header must lie within the file's 10 bytes; it ends at 11", {
    byteOffset: 0,
  })
  await refuses(file('', 0), /^x: header: must be JSON; /, { byteOffset: 8 })
})

test('headers that are no JSON object of tensors are refused', async () => {
  await refuses(file('[]', 0), 'x: header: the document must be an object; received []', { byteOffset: 8 })
  await refuses(file('null', 0), 'x: header: the document must be an object; received null')
  await refuses(file('{"a":', 0), /^x: header: must be JSON; /)
  await refuses(file('\0\0\0\0', 0), /^x: header: must be JSON; /)
  await refuses(
    file(new Uint8Array([0x7b, 0x22, 0xc3, 0x28, 0x22]), 0),
    'x: header: text must be valid UTF-8; it is not',
  )
  await refuses(file(`{"a":${'['.repeat(1000)}`, 0), /must nest at most 64 deep/)
  await refuses(
    file(`{"a":${entry()},"a":${entry()}}`, 8),
    'x: header: a key must appear once; "a" appears twice',
  )
  await refuses(file('{"__metadata__":{"a":1}}', 0), 'x: header: __metadata__.a must be a string; received 1')
  await refuses(file('{"__metadata__":"a"}', 0), 'x: header: __metadata__ must be an object; received "a"')
  await refuses(file('{"a":1}', 0), 'x: header: a must be an object; received 1', { tensor: 'a' })
})

test('tensor entries that contradict themselves are refused', async () => {
  const one = (fields: Record<string, unknown>) => file(`{"a":${entry(fields)}}`, 8)
  await refuses(one({ dtype: 'F7' }), /^x: header: a\.dtype must be one of BOOL, .*; received "F7"$/, {
    tensor: 'a',
  })
  await refuses(one({ dtype: 'toString' }), /received "toString"/)
  await refuses(one({ dtype: undefined }), 'x: header: a.dtype must be a string; received nothing')
  for (const shape of [[-2], [2.5], [null], ['2'], '2', [2 ** 53], undefined, [[2]]]) {
    await refuses(one({ shape }), /^x: header: a\.shape must be a list of integers, 0 or more; received /, {
      tensor: 'a',
    })
  }
  await refuses(file('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', 8), /must be JSON/)
  await refuses(
    file('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}', 8),
    /a\.shape must be a list of integers/,
  )
  await refuses(
    one({ shape: [3] }),
    'x: header: a.data_offsets must span 12 bytes, as F32 [3] needs; received [0,8]',
    { tensor: 'a' },
  )
  await refuses(one({ shape: [2 ** 40, 2 ** 40] }), /must span 4\.8\d+e\+24 bytes/)
  await refuses(one({ shape: Array(60).fill(2 ** 52) }), /must span Infinity bytes/)
  await refuses(one({ shape: [...Array(60).fill(2 ** 52), 0] }), /must span NaN bytes/)
  await refuses(one({ dtype: 'F4', shape: [15] }), /must span 7\.5 bytes/)
  for (const offsets of [[8, 0], [0], [0, 8, 16], []]) {
    await refuses(
      one({ data_offsets: offsets }),
      /a\.data_offsets must be two offsets, the second not below the first/,
    )
  }
  await refuses(one({ data_offsets: [-8, 0] }), /a\.data_offsets must be a list of integers, 0 or more/)
  await refuses(one({ data_offsets: [2 ** 53 - 9, 2 ** 53 - 1] }), /a\.data_offsets must be two offsets/)
})

test('tensors must cover the data exactly', async () => {
  const two = (a: number[], b: number[], dataBytes: number) =>
    file(`{"a":${entry({ data_offsets: a })},"b":${entry({ data_offsets: b })}}`, dataBytes)
  const start = two([0, 8], [8, 16], 0).length
  assert.equal(
    (await openSafetensors(bytesSource(two([8, 16], [0, 8], 16)))).tensors.get('a')?.byteOffset,
    start + 8,
  )
  const at = (offset: number) => start + offset
  await refuses(
    two([0, 8], [4, 12], 12),
    new RegExp(`tensor "b" must start at byte ${at(8)}; it starts at ${at(4)} and would overlap`),
    {
      tensor: 'b',
    },
  )
  await refuses(
    two([0, 8], [0, 8], 16),
    /tensor "b" must start at byte \d+; it starts at \d+ and would overlap the tensor before it/,
  )
  await refuses(
    two([0, 8], [9, 17], 17),
    /tensor "b" must start at byte \d+; it starts at \d+ and would leave a hole before it/,
  )
  await refuses(two([1, 9], [9, 17], 17), /tensor "a" must start at byte/)
  await refuses(
    two([0, 8], [8, 16], 15),
    new RegExp(`x: tensor "b" must lie within the file's ${at(15)} bytes; it ends at ${at(16)}`),
    {
      byteOffset: at(8),
      tensor: 'b',
    },
  )
  await refuses(
    two([0, 8], [8, 16], 17),
    new RegExp(`x: the tensors must cover the file to its end at ${at(17)}; they end at ${at(16)}`),
    {
      byteOffset: at(16),
    },
  )
  await refuses(file('{}', 1), /the tensors must cover the file to its end at 11; they end at 10/)
})

test('only the header is read on opening', async () => {
  let requested = 0
  const bytes = file(`{"a":${entry({ shape: [1 << 20], data_offsets: [0, 1 << 22] })}}`, 1 << 22)
  const source = bytesSource(bytes)
  await openSafetensors({
    ...source,
    read: (offset, length) => {
      requested += length
      return source.read(offset, length)
    },
  })
  assert.equal(requested, bytes.length - (1 << 22))
})
