import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { type SaveOptions, save } from '../../src/checkpoints/save.ts'
import { DTypeError, FormatError, ShapeError } from '../../src/core/errors.ts'
import { openDevice } from '../../src/devices/open.ts'
import { findNotFinite } from '../../src/formats/finite.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { loadCausalLM, planCausalLM } from '../../src/models/load.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'

/*
 * Real models, mutated anywhere: loading one gives a model whose floats, scales and shifts are finite, or one
 * of three errors; it allocates in proportion to the file, and a failure gives everything back.
 *
 *   LOWBIT_FUZZ_CASES=20000        so many mutations of each model instead of 500
 *   LOWBIT_FUZZ_MODELS=fp8,awq     of these models alone
 *   LOWBIT_FUZZ_CASE=FILE          each case is written there before it runs, so that a death names it
 *   LOWBIT_FUZZ_RECORD=FILE        how many were refused, and how many loaded, of each model
 */

const root = fileURLToPath(new URL('../..', import.meta.url))
const cases = Number(process.env.LOWBIT_FUZZ_CASES ?? 500)
const caseFile = process.env.LOWBIT_FUZZ_CASE
const recordFile = process.env.LOWBIT_FUZZ_RECORD
const asked = process.env.LOWBIT_FUZZ_MODELS?.split(',')
/** Values of other models' files, of no file, and of none at all. */
const strangeValues = [
  null,
  true,
  -1,
  0,
  0.5,
  3,
  511,
  513,
  2 ** 31,
  2 ** 53,
  1e300,
  '',
  'F16',
  'qint4',
  '\u0000',
  '__proto__',
  'toString',
  [],
  [0],
  [2 ** 40, 2 ** 40],
  {},
]
/** A case that computes for longer hangs, for all that a user knows. */
const patienceMs = 10_000

type Files = Map<string, Uint8Array>

function readModel(folder: string): Files {
  return new Map(
    readdirSync(folder)
      .filter((name) => name !== 'LICENSE')
      .map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
  )
}

const device = openDevice('cpu', { threads: 1 })
after(() => device.close())
/** The most bytes that tensors held since it was set. */
let peakBytes = 0
const { allocate } = device
device.allocate = (bytes) => {
  const storage = allocate.call(device, bytes)
  peakBytes = Math.max(peakBytes, device.allocatedBytes)
  return storage
}
const float = readModel(join(root, 'models/stories260K'))
const awq = readModel(join(root, 'test/golden/stories260K/awq-gemm-g32-attn'))
const models: Record<string, Files> = {
  float,
  sharded: await savedModel(float, { maxShardBytes: 300_000 }),
  qint4: readModel(join(root, 'test/golden/stories260K/quanto-qint4')),
  qint8: readModel(join(root, 'test/golden/stories260K/quanto-qint8')),
  awq,
  awqGemv: await savedModel(awq, { format: 'awq_gemv' }),
  gptq: readModel(join(root, 'test/golden/stories260K/gptq-w4-g32-asym-desc_act')),
  gptqV2: readModel(join(root, 'test/golden/stories260K/gptq_v2-w4-g32-asym')),
  mlx: readModel(join(root, 'test/golden/stories260K/mlx-mixed')),
  hqq: readModel(join(root, 'test/golden/stories260K/hqq-mixed')),
  bitnet: readModel(join(root, 'test/golden/stories260K/bitnet-packed')),
  torchao: readModel(join(root, 'test/golden/stories260K/torchao-mixed')),
  bitsandbytes: readModel(join(root, 'test/golden/stories260K/bnb-nf4-dq')),
  bitsandbytesInt8: readModel(join(root, 'test/golden/stories260K/bnb-int8')),
  compressed: readModel(join(root, 'test/golden/stories260K/ct-w4a16-asym')),
  nvfp4: readModel(join(root, 'test/golden/stories260K/ct-nvfp4')),
  fp8: readModel(join(root, 'test/golden/stories260K/fp8-finegrained-b32')),
}

/** The same model in several files with an index, or in a format of which there is no folder. */
async function savedModel(files: Files, options: SaveOptions): Promise<Files> {
  const saved: Files = new Map()
  using model = await loadCausalLM(memoryFolder(files), { device })
  await save(model, memoryFolder(saved), options)
  return saved
}

/** Floats, and what codes are multiplied by and moved by, are finite. */
async function assertFinite(model: CausalLM): Promise<void> {
  const look = async (path: string, floats: Tensor | null) => {
    if (!floats) return
    const place = await findNotFinite(floats)
    assert.equal(place, null, `${path} must be finite; value ${place} is not`)
  }
  const looks = [...model.namedParameters()].map(async ([path, parameter]) => {
    if (!(parameter instanceof QTensor)) return look(path, parameter)
    using scale = parameter.scale('float32')
    using shift = parameter.shift('float32')
    await Promise.all([look(`${path}: the scale`, scale), look(`${path}: the shift`, shift)])
  })
  await Promise.all(looks)
}

/** One model's row in the record, where one is kept: beside, or in the place of, those that are there. */
function record(model: string, outcomes: ReadonlyMap<string, number>): void {
  if (!recordFile) return
  const rows: Record<string, unknown>[] = existsSync(recordFile)
    ? JSON.parse(readFileSync(recordFile, 'utf8'))
    : []
  const { loaded = 0, ...errors } = Object.fromEntries(outcomes)
  const refused = Object.values(errors).reduce((sum, count) => sum + count, 0)
  const byModel = new Map(rows.map((row) => [row.model, row]))
  byModel.set(model, { model, cases: loaded + refused, refused, loaded })
  const names = Object.keys(models).filter((name) => byModel.has(name))
  writeFileSync(
    recordFile,
    `${JSON.stringify(
      names.map((name) => byModel.get(name)),
      null,
      2,
    )}\n`,
  )
}

interface Mutation {
  file: number
  kind: 'value' | 'key' | 'remove' | 'byte' | 'cut' | 'grow' | 'drop'
  place: number
  value: unknown
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  file: fc.nat(),
  // Most faults are a single wrong value.
  kind: fc.constantFrom(
    'value' as const,
    'value' as const,
    'value' as const,
    'key' as const,
    'remove' as const,
    'byte' as const,
    'cut' as const,
    'grow' as const,
    'drop' as const,
  ),
  place: fc.nat(),
  value: fc.oneof(
    fc.constantFrom(...strangeValues),
    fc.jsonValue({ maxDepth: 2 }),
    fc.integer(),
    fc.double(),
  ),
})

/**
 * What the mutations themselves died of: a key of a list far behind its end, and an object that is no text.
 */
const known: [Mutation[]][] = [
  [[{ file: 831879153, kind: 'key', place: 1622854261, value: 211993536 }]],
  ...(['key', 'byte'] as const).map((kind): [Mutation[]] => [
    [{ file: 0, kind, place: 7, value: { toString: 0 } }],
  ]),
]

/** Every place in a JSON value, as the object around it and the key. */
function placesIn(value: unknown): [holder: Record<string, unknown>, key: string][] {
  if (typeof value !== 'object' || value === null) return []
  const holder = value as Record<string, unknown>
  return Object.keys(holder).flatMap((key) => [
    [holder, key] as [Record<string, unknown>, string],
    ...placesIn(holder[key]),
  ])
}

/** Also where the key is `__proto__`. */
function setOwn(holder: object, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, configurable: true, enumerable: true, writable: true })
}

function mutateJson(text: string, { kind, place, value }: Mutation): string {
  const json = JSON.parse(text)
  const places = placesIn(json)
  if (places.length === 0) return JSON.stringify(value)
  const [holder, key] = places[place % places.length]
  const before = holder[key]
  if (kind === 'value') holder[key] = value
  else delete holder[key]
  // A list has no keys: a large number would be a place far behind its end, and all before it would be
  // written.
  if (kind === 'key' && !Array.isArray(holder))
    setOwn(holder, typeof value === 'string' ? value : JSON.stringify(value), before)
  return JSON.stringify(json)
}

/** Safetensors: the header is changed as JSON, its length put right. */
function mutateHeader(bytes: Uint8Array, change: Mutation): Uint8Array {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  const header = Buffer.from(mutateJson(Buffer.from(bytes.subarray(8, 8 + length)).toString(), change))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([prefix, header, bytes.subarray(8 + length)])
}

function mutateBytes(bytes: Uint8Array, { kind, place }: Mutation): Uint8Array {
  const at = place % Math.max(bytes.length, 1)
  if (kind === 'cut') return bytes.slice(0, at)
  if (kind === 'grow') return Buffer.concat([bytes, Buffer.alloc(1 + (place % 100))])
  const changed = bytes.slice()
  // The first bytes hold the most: lengths, names, shapes.
  changed[place % 3 === 0 ? at % 16 : at] ^= 1 + ((place >>> 8) & 0x7f)
  return changed
}

function mutate(files: Files, change: Mutation): void {
  const names = [...files.keys()]
  // Earlier mutations may have dropped them all.
  if (names.length === 0) return
  const name = names[change.file % names.length]
  const bytes = files.get(name) ?? new Uint8Array()
  if (change.kind === 'drop') files.delete(name)
  else if (change.kind === 'byte' || change.kind === 'cut' || change.kind === 'grow')
    files.set(name, mutateBytes(bytes, change))
  else {
    try {
      files.set(
        name,
        name.endsWith('.json')
          ? Buffer.from(mutateJson(Buffer.from(bytes).toString(), change))
          : mutateHeader(bytes, change),
      )
    } catch (error) {
      // An earlier mutation left no JSON to change.
      if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error
    }
  }
}

const size = (files: Files) => [...files.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)

for (const [name, original] of Object.entries(models)) {
  if (asked && !asked.includes(name)) continue
  test(`${cases} mutations of a model: ${name}`, async (t) => {
    const outcomes = new Map<string, number>()
    let slowestMs = 0
    await device.sync()
    const before = device.allocatedBytes
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (mutations) => {
        if (caseFile) writeFileSync(caseFile, JSON.stringify({ model: name, mutations }))
        const files = new Map(original)
        for (const one of mutations) mutate(files, one)
        const started = process.cpuUsage()
        peakBytes = before
        let loadedBytes = 0
        let outcome = 'loaded'
        try {
          await (await planCausalLM(memoryFolder(files))).close()
          const model = await loadCausalLM(memoryFolder(files), { device, onWarning() {} })
          loadedBytes = peakBytes
          await assertFinite(model).finally(() => model.dispose())
        } catch (error) {
          if (!(error instanceof FormatError || error instanceof ShapeError || error instanceof DTypeError))
            throw error
          assert.ok(error.message.length < 5000, `a message of ${error.message.length} characters`)
          outcome = error.name
        }
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
        assert.equal(device.allocatedBytes, before, 'a model that is gone or never was holds nothing')
        const limit = 4 * size(original) + 2 ** 20
        const taken = (loadedBytes || peakBytes) - before
        assert.ok(taken <= limit, `at most ${limit} bytes at a time; ${taken} were allocated`)
        // What else runs on the machine is no fault of the case.
        const { user, system } = process.cpuUsage(started)
        const tookMs = (user + system) / 1000
        if (tookMs > slowestMs) slowestMs = tookMs
        assert.ok(tookMs < patienceMs, `ended in time; it computed for ${tookMs} ms`)
      }),
      {
        examples: [...known],
        numRuns: cases,
        interruptAfterTimeLimit: Math.max(60_000, cases * 500),
        markInterruptAsFailure: true,
      },
    )
    t.diagnostic(
      [...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(', ') +
        `; the slowest took ${slowestMs.toFixed(0)} ms`,
    )
    assert.ok((outcomes.get('FormatError') ?? 0) > cases / 4, 'most mutations break the model')
    record(name, outcomes)
  })
}
