import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { matchTensors } from '../../src/checkpoints/match.ts'
import { quantizedTwins } from '../../src/checkpoints/twins.ts'
import type { DType, FloatDType } from '../../src/core/dtype.ts'
import { asQType, qint2, qint4, qint8 } from '../../src/core/qtype.ts'
import { sameShape } from '../../src/core/shape.ts'
import { openCheckpoint } from '../../src/formats/checkpoint.ts'
import { diskFolder, fileSource } from '../../src/formats/file.node.ts'
import { JsonObject } from '../../src/formats/json.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { quanto, quantoTensors } from '../../src/formats/schemes/quanto.ts'
import { formatQuantoMap, parseQuantoMap, type QuantoMap } from '../../src/formats/schemes/quantoMap.ts'
import type { Part } from '../../src/formats/schemes/scheme.ts'
import type { TensorFile, TensorInfo } from '../../src/formats/tensorFile.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { defaultGroupSize } from '../../src/qtensor/groupSize.ts'
import { widestGolden as golden } from '../golden.ts'
import { fixtures } from './golden.ts'
import { packRows, unpackRows } from './splitRows.ts'

interface Case {
  qtype: string
  shape: number[]
  bias: boolean
  dtype: FloatDType
  tensors: Record<string, [DType, number[]]>
}

/** What quanto itself saved for 72 modules. */
const cases: Case[] = JSON.parse(readFileSync(`${fixtures}quanto-shapes.json`, 'utf8'))

/** A file of those tensors, without bytes. */
function fileOf(tensors: Record<string, [DType, number[]]>): TensorFile {
  const infos = Object.entries(tensors).map(([name, [dtype, shape]]): [string, TensorInfo] => {
    return [name, { name, dtype, shape, byteLength: 0, byteOffset: 64 }]
  })
  return {
    name: 'x',
    tensors: new Map(infos),
    unknown: new Map(),
    read: async () => new Uint8Array(),
    readRows: async () => new Uint8Array(),
    readBytes: async () => new Uint8Array(),
    close: async () => {},
  }
}

const map = (text: string) => parseQuantoMap(new TextEncoder().encode(text), 'quanto_qmap.json')

/** How quanto reads the file: the modules are of these types. */
async function detected(file: TensorFile, types: Record<string, { weights: string; activations: string }>) {
  const found = await quanto.detect(new JsonObject(types, 'map'), file, true)
  assert.ok(found)
  return found
}

/** The parts of one module's weight, by the last word of their names. */
async function partsOf(file: TensorFile, module: string, weights: string, shape: number[]) {
  const found = await detected(file, { [module]: { weights, activations: 'none' } })
  const parts = found.layer(module, shape, 'Linear')?.weight?.parts ?? []
  const part = (end: string) => parts.find(({ name }) => name.endsWith(end))
  return { data: part('_data'), scale: part('_scale'), shift: part('_shift') }
}

/** Whether the file holds a part as it must be. */
function holds(file: TensorFile, module: string, part: Part | undefined): boolean {
  const info = file.tensors.get(`${module}.${part?.name}`)
  return !!info && !!part && part.dtypes.includes(info.dtype) && sameShape(info.shape, part.shape)
}

test('a map is read and written as quanto does', async () => {
  let maps = 0
  for (const variant of readdirSync(join(golden, 'stories260K')).filter((name) =>
    name.startsWith('quanto-'),
  )) {
    const folder = join(golden, 'stories260K', variant)
    const parsed = map(readFileSync(join(folder, 'quanto_qmap.json'), 'utf8'))
    assert.equal(formatQuantoMap(parsed), readFileSync(join(folder, 'quanto_qmap.json'), 'utf8'))
    const weights = asQType(variant.split('-')[1])
    const activations = variant.includes('-a8') ? qint8 : undefined
    assert.deepEqual(parsed.get('model.layers.0.self_attn.q_proj'), {
      weights,
      activations,
      outputQuantized: true,
    })
    assert.equal(parsed.has('lm_head'), !variant.endsWith('nolmhead'))
    maps++
  }
  assert.equal(maps, 7)
})

test('maps that are none are refused', () => {
  assert.deepEqual(map('{"0":{"weights":"none","activations":"qint8"}}').get('0'), {
    weights: undefined,
    activations: qint8,
    outputQuantized: true,
  })
  assert.equal(
    map('{"0":{"weights":"qfloat8","activations":"none"}}').get('0')?.weights?.name,
    'qfloat8_e4m3fn',
  )
  const refuses = (text: string, message: string | RegExp) =>
    assert.throws(() => map(text), { name: 'FormatError', message })
  refuses(
    '{"lm_head":{"weights":"qint3","activations":"none"}}',
    'quanto_qmap.json: lm_head.weights must be none, qfloat8 or one of qint2, qint4, qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz; ' +
      'received "qint3"',
  )
  refuses(
    '{"lm_head":{"weights":"int4","activations":"none"}}',
    /lm_head\.weights must be none, .*; received "int4"/,
  )
  refuses(
    '{"lm_head":{"weights":"qint4"}}',
    'quanto_qmap.json: lm_head.activations must be a string; received nothing',
  )
  refuses('{"lm_head":"qint4"}', 'quanto_qmap.json: lm_head must be an object; received "qint4"')
  refuses('[]', 'quanto_qmap.json: the document must be an object; received []')
  refuses(
    '{"a":{"weights":"qint4","activations":"none"},"a":{}}',
    'quanto_qmap.json: a key must appear once; "a" appears twice',
  )
})

test('the group size is the largest of 128, 96, 64, 32 that divides rows longer than 128', () => {
  const known: [number, number | undefined][] = [
    [100, undefined],
    [128, undefined],
    [130, undefined],
    [160, 32],
    [192, 96],
    [258, undefined],
    [288, 96],
    [416, 32],
    [672, 96],
    [3200, 128],
    [11008, 128],
  ]
  for (const [columns, size] of known)
    assert.equal(defaultGroupSize(qint4, columns), size ?? null, `${columns}`)
})

test('five rows of 4 bits share three rows of bytes, the first in the low bits', () => {
  const codes = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  assert.deepEqual([...packRows(codes, 5, 2, 4)], [0x71, 0x82, 0x93, 0xa4, 0x05, 0x06])
  assert.deepEqual([...unpackRows(packRows(codes, 5, 2, 4), 5, 2, 4)], [...codes])
  // 2 bits: rows 0, 2, 4 in one byte, rows 1, 3 in the other.
  assert.deepEqual([...packRows(Uint8Array.from([3, 1, 2, 0, 1]), 5, 1, 2)], [0b01_10_11, 0b00_01])
})

test('packing inverts unpacking', () => {
  const matrix = fc
    .tuple(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 9 }),
      fc.constantFrom(2 as const, 4 as const),
    )
    .chain(([rows, cols, bits]) => {
      const codes = fc.uint8Array({ minLength: rows * cols, maxLength: rows * cols, max: (1 << bits) - 1 })
      return fc.tuple(codes, fc.constant({ rows, cols, bits }))
    })
  fc.assert(
    fc.property(matrix, ([codes, { rows, cols, bits }]) => {
      assert.deepEqual(unpackRows(packRows(codes, rows, cols, bits), rows, cols, bits), codes)
    }),
  )
})

test('the worked example packs and dequantizes as quanto has it', async () => {
  for (const qtype of [qint4, qint2]) {
    const bits = qtype.bits === 4 ? 4 : 2
    const file = await openSafetensors(
      await fileSource(`${fixtures}quanto-example-${qtype.name}.safetensors`),
    )
    const found = await partsOf(file, '0', qtype.name, [4, 256])
    const bytesOf = async (part?: Part) => (await file.read(`0.${part?.name}`)).slice()
    const packed = await bytesOf(found.data)
    // Group 0 is codes 0 0 0 0 0 1, group 4 (row 2) 15 15 15 15 15 14; in 2 bits code 0 below 3 · 2⁴.
    if (bits === 4) assert.equal(Buffer.from(packed.subarray(0, 6)).toString('hex'), 'f0f0f0f0f0e1')
    else assert.equal(packed[0], 0x30)
    const codes = unpackRows(packed, 8, 128, bits)
    assert.deepEqual(packRows(codes, 8, 128, bits), packed)
    const scale = new Float32Array((await bytesOf(found.scale)).buffer)
    const shift = new Float32Array((await bytesOf(found.shift)).buffer)
    if (bits === 4)
      assert.deepEqual(
        [...shift].map((x) => Number(x.toFixed(6))),
        [1, -0.28, 2, -0.56, 0.27, 1.55, 0.5, -0.14],
      )
    // Every weight is within half a step of (i - 100) / 100 times 1, 2, -1, ½, so a code out of place shows.
    const factors = [1, 2, -1, 0.5]
    for (let i = 0; i < codes.length; i++) {
      const group = Math.floor(i / 128)
      const weight = ((i % 256) - 100) * 0.01 * factors[Math.floor(i / 256)]
      assert.ok(
        Math.abs(scale[group] * codes[i] - shift[group] - weight) <= scale[group] * 0.501,
        `${qtype.name} weight ${i}`,
      )
    }
    await file.close()
  }
})

test('packed bytes and codes are those that quanto wrote side by side', async () => {
  const names = readdirSync(join(golden, 'single_tensor')).filter((name) =>
    /^quanto_\w+_int[24]_g\d+\.safetensors$/.test(name),
  )
  assert.ok(names.length >= 6)
  for (const name of names) {
    const file = await openSafetensors(await fileSource(join(golden, 'single_tensor', name)))
    const [rows, cols] = file.tensors.get('codes_grouped')?.shape ?? []
    const bits = name.includes('int4') ? 4 : 2
    const codes = await file.read('codes_grouped')
    const packed = await file.read('packed')
    assert.deepEqual(packRows(codes, rows, cols, bits), packed, name)
    assert.deepEqual(unpackRows(packed, rows, cols, bits), codes, name)
    await file.close()
  }
})

test('names, dtypes and shapes are those that quanto gives its modules', async () => {
  assert.equal(cases.length, 72)
  for (const { qtype, shape, bias, dtype, tensors } of cases) {
    const weight = Object.values(quantoTensors(asQType(qtype), shape, dtype))
    const expected = weight.map(({ name, dtype: stored, shape: size }) => [`0.${name}`, [stored, size]])
    const others = {
      '0.input_scale': [dtype, []],
      '0.output_scale': [dtype, []],
      ...(bias && { '0.bias': [dtype, [shape[0]]] }),
    }
    assert.deepEqual({ ...Object.fromEntries(expected), ...others }, tensors, `${qtype} ${dtype} [${shape}]`)
    const file = fileOf(tensors)
    const parts = Object.values(await partsOf(file, '0', qtype, shape)).filter((part) => part !== undefined)
    assert.equal(parts.length, weight.length)
    for (const part of parts) assert.ok(holds(file, '0', part), part.name)
  }
})

test('every module of the golden models is found as quanto saved it', async () => {
  const float = await openCheckpoint(diskFolder(join(import.meta.dirname, '../../models/stories260K')))
  let modules = 0
  for (const variant of readdirSync(join(golden, 'stories260K')).filter((name) =>
    name.startsWith('quanto-'),
  )) {
    const folder = join(golden, 'stories260K', variant)
    const file = await openCheckpoint(diskFolder(folder))
    const parsed: QuantoMap = map(readFileSync(join(folder, 'quanto_qmap.json'), 'utf8'))
    for (const [module, { weights }] of parsed) {
      // The head's weight is tied to the embedding in the float model.
      const shape =
        (float.tensors.get(`${module}.weight`) ?? float.tensors.get('model.embed_tokens.weight'))?.shape ?? []
      if (!weights) continue
      const { data, scale, shift } = await partsOf(file, module, weights.name, [...shape])
      for (const part of [data, scale, ...(shift ? [shift] : [])])
        assert.ok(holds(file, module, part), `${module} ${part?.name}`)
      modules++
    }
    await file.close()
  }
  assert.ok(modules > 200, `${modules}`)
  await float.close()
})

test('each tensor that does not fit is named, with what it must be', async () => {
  class Net extends Module {
    l = new Linear(160, 3)
  }
  const good = cases.find((each) => each.qtype === 'qint4' && each.shape.join() === '7,160')?.tensors ?? {}
  const tensors: Record<string, [DType, number[]]> = {
    'l.weight._data._data': ['uint8', [8, 32]],
    'l.weight._scale': ['float32', [15, 1]],
    'l.weight._shift': ['float32', [15, 1]],
    'l.input_scale': ['float32', []],
    'l.output_scale': ['float32', []],
    'l.bias': ['float32', [3]],
  }
  assert.deepEqual(
    Object.keys(good)
      .map((name) => name.replace('0.', 'l.'))
      .sort(),
    Object.keys(tensors).sort(),
  )
  const problemsOf = async (changed: Record<string, [DType, number[]]>) => {
    const file = fileOf(changed)
    const quantized = await detected(file, { l: { weights: 'qint4', activations: 'qint8' } })
    const model = new Net()
    const { twins, problems } = quantizedTwins(model, quantized, file)
    model.replaceModules(twins)
    const all = [...problems, ...matchTensors(model, file, quantized).problems]
    return all.map(({ tensor, problem }) => `${tensor} ${problem}`)
  }
  assert.deepEqual(await problemsOf(tensors), [])
  const wrong: [string, [DType, number[]], string][] = [
    ['l.weight._data._data', ['int8', [8, 32]], 'must be uint8 [8,32]; it is int8 [8,32]'],
    ['l.weight._data._data', ['uint8', [15, 32]], 'must be uint8 [8,32]; it is uint8 [15,32]'],
    ['l.weight._scale', ['float32', [3, 1]], 'must be float32 [15,1]; it is float32 [3,1]'],
    ['l.weight._scale', ['int8', [15, 1]], 'must be float32, float16 or bfloat16 [15,1]; it is int8 [15,1]'],
    ['l.weight._shift', ['uint8', [15, 1]], 'must be float32 [15,1]; it is uint8 [15,1]'],
    ['l.bias', ['float32', [4]], 'must be [3]; it is [4]'],
    ['l.bias', ['uint8', [3]], 'must be float32, float16 or bfloat16; it is uint8'],
  ]
  for (const [name, instead, message] of wrong)
    assert.deepEqual(await problemsOf({ ...tensors, [name]: instead }), [`${name} ${message}`])
  for (const name of Object.keys(tensors)) {
    const { [name]: _, ...rest } = tensors
    assert.deepEqual(await problemsOf(rest), [`${name} is missing`])
  }
})
