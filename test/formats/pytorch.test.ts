import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readStateDict } from '../../src/checkpoints/load.ts'
import { loadStateDict } from '../../src/checkpoints/stateDict.ts'
import { FormatError } from '../../src/core/errors.ts'
import { openPyTorch } from '../../src/formats/pytorch.ts'
import { type ByteSource, bytesSource } from '../../src/formats/source.ts'
import { BatchNorm1d, Linear, Sequential } from '../../src/index.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'
import { archive, files, fixtures } from './pytorchFiles.ts'

const read = (name: string) => readFileSync(join(fixtures, name))
const open = (bytes: Uint8Array) => openPyTorch(bytesSource(bytes, 'x.pt'))

interface Stored {
  dtype: string
  shape: number[]
  bytes: string
}
const expected: Record<string, Record<string, Stored>> = JSON.parse(read('expected.json').toString())

/** Our words for dtypes that lowbit has no values of. */
const words: Record<string, string> = {
  ...{ float64: 'F64', int16: 'I16', complex64: 'C64', uint16: 'U16', uint32: 'U32' },
}

for (const [name, tensors] of Object.entries(expected))
  test(`${name}: the tensors are those that PyTorch reads, whole and by rows`, async () => {
    const file = await open(read(name))
    assert.deepEqual([...file.tensors.keys()].sort(), Object.keys(tensors).sort())
    for (const [tensor, { dtype, shape, bytes }] of Object.entries(tensors)) {
      const info = file.tensors.get(tensor)
      assert.deepEqual([info?.dtype, info?.shape], [words[dtype] ?? dtype, shape], tensor)
      assert.equal(info?.byteLength, bytes.length / 2, tensor)
      assert.equal(Buffer.from(await file.read(tensor)).toString('hex'), bytes, tensor)
      const rows: string[] = []
      for (let row = 0; row < (shape[0] ?? 1); row++)
        rows.push(Buffer.from(await file.readRows(tensor, row, row + 1)).toString('hex'))
      assert.equal(rows.join(''), bytes, `${tensor} by rows`)
    }
    await file.close()
  })

test('a state dictionary of PyTorch fills a model', async () => {
  const model = new Sequential(new Linear(2, 3), new BatchNorm1d(3))
  const state = await readStateDict(join(fixtures, 'module-state.pt'))
  await loadStateDict(model, state)
  const weight = await (model.getParameter('0.weight') as Tensor).readBytes()
  assert.equal(Buffer.from(weight).toString('hex'), expected['module-state.pt']['0.weight'].bytes)
  model.dispose()
})

test('tensors are read as ranges: of one neither the file nor its storages more than once', async () => {
  const bytes = read('qwen2/pytorch_model.bin')
  const asked: number[] = []
  const inner = bytesSource(bytes)
  const counted: ByteSource = {
    ...inner,
    read(offset, length) {
      asked.push(length)
      return inner.read(offset, length)
    },
  }
  const file = await openPyTorch(counted)
  assert.ok(asked.reduce((sum, length) => sum + length) < bytes.length / 3 + 65577, `${asked}`)
  asked.length = 0
  await file.readRows('model.layers.0.mlp.up_proj.weight', 2, 5)
  assert.deepEqual(asked, [3 * 32 * 2])
})

const refuses = async (bytes: Uint8Array, message: RegExp, label: string) => {
  let closed = false
  const source = {
    ...bytesSource(bytes, 'x.pt'),
    close: async () => {
      closed = true
    },
  }
  await assert.rejects(
    openPyTorch(source),
    (error: unknown) => {
      assert.ok(error instanceof FormatError, `${label}: ${(error as Error).stack}`)
      assert.match(error.message, message, label)
      assert.doesNotMatch(error.message, /\n/)
      return true
    },
    label,
  )
  assert.ok(closed, `${label}: the file is closed`)
}

test('what holds more than tensors is refused by the name of that', async () => {
  const named = (name: string) =>
    new RegExp(
      `^x\\.pt: the pickle must hold tensors alone, and nothing that runs code; it names "${name}", at byte \\d+$`,
    )
  for (const [file, message] of Object.entries({
    'module.pt': named('torch\\.nn\\.modules\\.container\\.Sequential'),
    'quantized.pt': /torch\._utils\._rebuild_qtensor|QUInt8Storage/,
    'sparse.pt': /torch\._utils\._rebuild_sparse_tensor|torch\.serialization\._get_layout/,
    'numpy.pt': /numpy/,
    'protocol4.pt': /must be of protocol 2, as PyTorch writes it; it is of 4/,
  }))
    await refuses(read(join('refused', file)), message, file)
})

const ascii = (text: string) => Buffer.from(text, 'latin1')
/** Protocol 2, then these opcodes. */
const pickle = (...parts: (string | number[])[]) =>
  Buffer.concat([
    Buffer.from([0x80, 2]),
    ...parts.map((part) => (typeof part === 'string' ? ascii(part) : Buffer.from(part))),
  ])

test('hostile pickles are refused with the place, and run nothing', async () => {
  const text = [0x58, 2, 0, 0, 0, 0x69, 0x64]
  const cases: Record<string, [Buffer, RegExp]> = {
    'a command': [pickle('cos\nsystem\n', text, [0x85], 'R.'), /it names "os\.system", at byte \d+/],
    'a command by another name': [pickle('cposix\nsystem\n', text, [0x85], 'R.'), /"posix\.system"/],
    'eval of builtins': [pickle('c__builtin__\neval\n', text, [0x85], 'R.'), /"__builtin__\.eval"/],
    'a name of the table itself': [pickle('cconstructor\nname\n.'), /"constructor\.name"/],
    'a function of ours, not called so': [
      pickle('ctorch._utils\n_rebuild_parameter\n', text, [0x85], 'R.'),
      /must call torch\._utils\._rebuild_parameter with what it takes; the first argument must be a tensor/,
    ],
    'a call of a text': [pickle(text, [0x29], 'R.'), /must call one of the functions that it names/],
    'a new object': [
      pickle('ccollections\nOrderedDict\n', text, [0x81], '.'),
      /must call one of the functions/,
    ],
    'an instance': [pickle('(ios\nsystem\n.'), /must hold no INST/],
    'the state of an object': [pickle(']}b.'), /must set the state of dictionaries alone \(BUILD\)/],
    'an extension': [pickle([0x82, 1], '.'), /must hold no EXT1/],
    'a global from the stack': [pickle(text, text, [0x93], '.'), /must hold no STACK_GLOBAL/],
    'an opcode that there is not': [pickle([0xff], '.'), /must hold no opcode 0xff/],
    'a place in the memo that is empty': [pickle('h', [7], '.'), /must find 7 in its memo; it is not there/],
    'a text beyond the end': [pickle([0x58, 0xff, 0xff, 0xff, 0x7f], 'x.'), /must end within its \d+ bytes/],
    'a name without an end': [pickle('cos'), /must end within its \d+ bytes/],
    'a name of a thousand bytes': [
      pickle(`c${'x'.repeat(2000)}\nx\n.`),
      /must name globals by at most 1000 bytes/,
    ],
    'text that is none': [pickle([0x58, 1, 0, 0, 0, 0xff], '.'), /must hold text in UTF-8/],
    'nothing on the stack': [pickle('.'), /its stack; it is empty/],
    'no mark': [pickle('e.'), /must find a mark/],
    'a mark for a value': [pickle('(R.'), /its stack/],
    'two values': [pickle(']].'), /must end with one value; 1 more are left/],
    'an odd number of pairs': [pickle('}(', text, 'u.'), /must set pairs in a dictionary/],
    'no end': [pickle(']'), /must end within its \d+ bytes/],
    'millions of values': [pickle('(', 'N'.repeat(2_000_001), 't.'), /must make at most 2000000 values/],
    'lists in one another': [pickle(']'.repeat(5000), 'a'.repeat(4999), '.'), /must lie at most 32 deep/],
    'another kind of persistent id': [pickle(text, 'Q.'), /must refer to storages alone/],
  }
  for (const [label, [bytes, message]] of Object.entries(cases)) await refuses(archive(bytes), message, label)
})

test('lists of lists that are shared cost what the pickle is long', async () => {
  // Each list holds the one before twice: followed one by one, they would be 2^25.
  const levels = Array.from({ length: 25 }, (_, i) => [
    ...ascii(']'),
    0x71,
    i + 1,
    0x28,
    0x68,
    i,
    0x68,
    i,
    ...ascii('e'),
  ])
  const started = performance.now()
  const file = await open(archive(pickle('(]', [0x71, 0], ...levels, 't.')))
  assert.equal(file.tensors.size, 0)
  assert.ok(performance.now() - started < 1000)
  // A list that holds itself.
  await (await open(archive(pickle(']', [0x71, 0, 0x68, 0], 'a.')))).close()
})

/** A tensor: the storage 0 of floats, an offset, sizes, strides. */
const tensor = (count: number, offset: number, sizes: number[], strides: number[]) => {
  const int = (value: number) => [0x4a, ...Buffer.from(Int32Array.of(value).buffer)]
  const tuple = (values: number[]) => [0x28, ...values.flatMap(int), 0x74]
  const text = (word: string) => [0x58, word.length, 0, 0, 0, ...ascii(word)]
  const id = [
    0x28,
    ...text('storage'),
    ...ascii('ctorch\nFloatStorage\n'),
    ...text('0'),
    ...text('cpu'),
    ...int(count),
    0x74,
    0x51,
  ]
  return pickle('ctorch._utils\n_rebuild_tensor\n(', id, int(offset), tuple(sizes), tuple(strides), 'tR.')
}

test('views lie within their storages, and these within the file', async () => {
  const six = { 0: new Uint8Array(24) }
  const file = await open(archive(tensor(6, 0, [2, 3], [3, 1]), six))
  assert.equal((await file.read('tensor')).length, 24)
  for (const [label, bytes, message] of [
    [
      'a view that ends behind its storage',
      archive(tensor(6, 1, [2, 3], [3, 1]), six),
      /\[2,3\] must lie within the 6 values of storage 0; it ends at 7/,
    ],
    ['strides that lead out', archive(tensor(6, 0, [2, 3], [4, 1]), six), /it ends at 7/],
    [
      'sizes below 0',
      archive(tensor(6, 0, [-1], [1]), six),
      /sizes and strides must be as many whole numbers from 0 up/,
    ],
    [
      'an offset below 0',
      archive(tensor(6, -1, [1], [1]), six),
      /the offset must be a whole number from 0 up/,
    ],
    ['fewer strides than sizes', archive(tensor(6, 0, [2, 3], [3]), six), /sizes and strides/],
    [
      'more values than can be counted',
      archive(tensor(6, 0, [2 ** 30, 2 ** 30], [0, 0]), six),
      /must lie within the 6 values/,
    ],
    [
      'a storage that is too short',
      archive(tensor(7, 0, [1], [1]), six),
      /must find 28 bytes in data\/0; there are 24/,
    ],
    ['no storage', archive(tensor(6, 0, [1], [1])), /must find 24 bytes in data\/0; there are none/],
    [
      'compressed files',
      archive(tensor(6, 0, [1], [1]), six, 8),
      /must hold its files as they are; "x\/data\.pkl" is compressed or encrypted/,
    ],
    [
      'no pickle',
      Buffer.from(archive(pickle('].')).toString('latin1').replaceAll('data.pkl', 'data.pk2'), 'latin1'),
      /must hold one data\.pkl/,
    ],
    ['the end cut off', read('values.pt').subarray(0, -30), /must be a zip archive to its end/],
    ['no file of PyTorch', ascii('{"a": 1}'), /must be a file that torch\.save wrote/],
    ['nothing', Buffer.alloc(0), /must be a file that torch\.save wrote/],
    [
      'other values than little-endian ones',
      Buffer.from(read('tensor.pt').toString('latin1').replace('little', 'biggie'), 'latin1'),
      /must be little-endian; byteorder says "biggie"/,
    ],
    [
      'a storage of the old form cut off',
      read('values-legacy.pt').subarray(0, -4),
      /storage "\d+" must lie within the file's \d+ bytes; it ends at \d+/,
    ],
  ] as const)
    await refuses(bytes, message, label)
})

test('a storage of the old form that is referred to with two counts is refused', async () => {
  const magic = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]
  const system = [0x58, 13, 0, 0, 0, ...ascii('little_endian'), 0x88]
  const both = [tensor(6, 0, [2], [1]), tensor(5, 0, [2], [1])].map((one) => [...one.subarray(2, -1)])
  const bytes = Buffer.concat([
    pickle(magic, '.'),
    pickle([0x4d, 1001 & 255, 1001 >> 8], '.'),
    pickle('}', system, 's.'),
    pickle('](', ...both, 'e.'),
    pickle(']', [0x58, 1, 0, 0, 0, 0x30], 'a.'),
  ])
  await refuses(
    bytes,
    /must refer to storage "0" as 6 values of one type; it refers otherwise, too/,
    'counts',
  )
})

test('a transposed matrix that is read row by row is read once', async () => {
  const inner = bytesSource(
    archive(tensor(6, 0, [3, 2], [1, 3]), { 0: Uint8Array.from({ length: 24 }, (_, i) => i) }),
    'x.pt',
  )
  let asked = 0
  const read: ByteSource['read'] = (offset, length, into) => {
    asked += length
    return inner.read(offset, length, into)
  }
  const file = await openPyTorch({ ...inner, read })
  asked = 0
  const rows: number[] = []
  for (const row of [0, 1, 2]) rows.push(...(await file.readRows('tensor', row, row + 1)))
  const values = [0, 3, 1, 4, 2, 5].flatMap((i) => [4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3])
  assert.deepEqual(rows, values)
  assert.equal(asked, 24)
})

test('one value that stands for many is refused when it is read', async () => {
  const file = await open(files.get('expanded.pt') ?? assert.fail())
  assert.deepEqual(file.tensors.get('x')?.shape, [1000, 1000])
  await assert.rejects(
    file.read('x'),
    /"x" must have up to 5 dimensions and its values once; its strides are 0, 0/,
  )
})
