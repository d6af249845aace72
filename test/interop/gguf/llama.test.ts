import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Client, installPeer } from '../../../bench/peers/client.ts'
import type { GgmlJob } from '../../../bench/peers/ggml.ts'
import { Random } from '../../../src/core/random.ts'
import { openDevice } from '../../../src/devices/open.ts'
import { ggufTypes } from '../../../src/formats/ggufBlocks.ts'
import { ggufBlockWriter } from '../../../src/formats/schemes/ggufBlockWriter.ts'
import type { LayerToWrite } from '../../../src/formats/schemes/scheme.ts'
import { weightKind } from '../../../src/formats/schemes/weightKind.ts'
import { generateTokens } from '../../../src/models/generate.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { QTensor } from '../../../src/qtensor/qtensor.ts'
import { Statistics } from '../../../src/qtensor/quantizer.ts'
import { type GgufQuantizedType, ggufCodes, ggufQuantizer } from '../../../src/quantize/ggufQuantizers.ts'
import { keep, scope } from '../../../src/tensor/scope.ts'
import { Tensor } from '../../../src/tensor/tensor.ts'
import { golden } from '../../golden.ts'
import { writtenGguf } from '../../models/writtenGguf.ts'

/* llama.cpp runs the files that lowbit writes, and ggml's own encoders write the bytes of ours. */

const folder = mkdtempSync(join(tmpdir(), 'lowbit-llama-'))
const device = openDevice()

before(() => assert.ok(installPeer(), 'node-llama-cpp and koffi must be installable'))
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await device.close()
})

const setting = { threads: 2, flashAttention: false }
const models = {
  stories260K: { place: 'lowbit/models/stories260K', text: 'Once upon a time' },
  'shakespeare-gpt2-1M': { place: join(golden, 'shakespeare-gpt2-1M/float'), text: 'ROMEO:\nWhat light' },
}

for (const [name, { place, text }] of Object.entries(models)) {
  test(`${name}: llama.cpp reads its tokens, and continues a text as lowbit does`, async () => {
    const file = join(folder, `${name}.gguf`)
    using model = await loadCausalLM(place, { device })
    writeFileSync(file, await writtenGguf(model, ggufBlockWriter))
    using llama = await Client.peer(file)
    await llama.load()
    const ids = model.tokenizer?.encode(text) as number[]
    const plain = model.tokenizer?.encode(text, { addSpecialTokens: false })
    assert.deepEqual(await llama.encode(text), plain)
    const { tokenIds } = await llama.run({ prompt: ids, newTokens: 40, setting })
    const ours: number[] = []
    for await (const id of generateTokens(model, ids, {
      maxNewTokens: 40,
      computeDtype: 'float32',
      stopAtEos: false,
    }))
      ours.push(id)
    assert.deepEqual(tokenIds, ours)
  })
}

const random = new Random(11)
/** Rows as models have them, and such as none has. */
const kinds: Record<string, (i: number) => number> = {
  normal: () => 0.1 * random.normal(),
  zeros: () => 0,
  'one negative value': () => -0.75,
  'one positive value': () => 0.3,
  positive: () => 0.5 + random.uniform(),
  negative: () => -0.5 - random.uniform(),
  'zeros in half a block': (i) => (i % 512 < 256 ? 0 : random.normal()),
  'nearly one value': () => -0.3 - 1e-7 * random.uniform(),
  denormal: () => 1e-41 * random.normal(),
  tiny: () => 1e-20 * random.normal(),
  large: () => 1e4 * random.normal(),
  'every magnitude': () => random.normal() * 2 ** Math.floor(20 * random.uniform() - 15),
  'one value among zeros': (i) => (i % 32 === 7 ? 3 : 0),
  sparse: () => (random.uniform() < 0.05 ? random.normal() : 0),
  integers: () => Math.round(4 * random.normal()),
  'on a grid': () => Math.round(8 * random.normal()) / 16,
  outliers: (i) => (i % 97 === 5 ? 50 : 0.01) * random.normal(),
  'just below powers of two': () => (1 - 2 ** -24) * 2 ** Math.floor(30 * random.uniform() - 15),
}
const types: GgufQuantizedType[] = [
  ...(['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K'] as const),
  ...(['IQ4_NL', 'IQ4_XS', 'TQ2_0', 'MXFP4'] as const),
]
const rows = 40

interface Case {
  title: string
  type: GgufQuantizedType
  x: Float32Array
  importance: Float32Array | null
  job: GgmlJob
}

function casesOf(type: GgufQuantizedType, weighted: boolean): Case[] {
  const { id, values, bytes } = ggufTypes[type]
  return Object.entries(kinds).flatMap(([kind, make]) => {
    // Of a block of denormal values ggml makes an exponent far above them, lowbit the least one.
    if (type === 'MXFP4' && kind === 'denormal') return []
    return [values, 3 * values].map((cols) => {
      const title = `${type}${weighted ? ' by importance' : ''}, ${kind}, ${cols} columns`
      const x = Float32Array.from({ length: rows * cols }, (_, i) => make(i))
      const importance = weighted
        ? Float32Array.from({ length: cols }, () => random.normal() ** 2 + 0.01)
        : null
      const [file, weights] = [`${title}.bin`, `${title}.weights`]
      writeFileSync(join(folder, file), x)
      if (importance) writeFileSync(join(folder, weights), importance)
      const job = {
        type: id,
        rows,
        cols,
        x: file,
        out: `${title}.out`,
        bytes: (rows * cols * bytes) / values,
      }
      return { title, type, x, importance, job: { ...job, ...(importance && { importance: weights }) } }
    })
  })
}

/** The blocks of a matrix as lowbit quantizes and writes it. */
async function blocksOf({ type, x, importance }: Case): Promise<Uint8Array> {
  const statistics = new Statistics()
  const weight = scope(() => {
    if (importance) {
      statistics.set('squares', Tensor.fromArray(device, importance))
      statistics.set('rows', Tensor.full(device, [1], 1))
    }
    const floats = Tensor.fromArray(device, x, [rows, x.length / rows])
    const quantizer = ggufQuantizer(type, { importance: importance !== null })
    return QTensor.quantize(floats, ggufCodes(type), null, quantizer, statistics).keep()
  })
  const kind = await weightKind(weight)
  const [part] = ggufBlockWriter.parts({ path: 'x', weight: kind } as LayerToWrite)
  const blocks = scope(() => keep(part.make({ device, weight, inputScale: null, outputScale: null })))
  const bytes = await blocks.readBytes()
  for (const each of [blocks, weight, statistics]) each.dispose()
  return bytes
}

describe('ggml encodes the same bytes', () => {
  const cases = types.flatMap((type) => {
    const taken = !['Q8_0', 'TQ2_0', 'MXFP4'].includes(type)
    return [...casesOf(type, false), ...(taken ? casesOf(type, true) : [])]
  })
  before(() => {
    writeFileSync(join(folder, 'jobs.json'), JSON.stringify(cases.map(({ job }) => job)))
    execFileSync(process.execPath, [join(import.meta.dirname, '../../../bench/peers/ggml.ts'), folder])
  })

  for (const type of types) {
    test(type, async () => {
      for (const each of cases.filter((one) => one.type === type)) {
        const expected = readFileSync(join(folder, each.job.out))
        assert.ok(expected.equals(await blocksOf(each)), each.title)
      }
    })
  }
})
