import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import { DTypeError, FormatError, ShapeError } from '../../src/core/errors.ts'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { pythonFloat } from '../../src/formats/json.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { golden } from '../golden.ts'
import { copyOf } from '../models/golden.ts'

/*
 * A folder that bitsandbytes quantized twice over, damaged: one sentence for each damage, and nothing is left
 * on the device.
 */

const cases = Number(process.env.LOWBIT_FUZZ_CASES ?? 500)
const place = join(golden, 'stories260K/bnb-nf4-dq')
assert.ok(existsSync(place), `${place} must be there`)
const original = await copyOf(diskFolder(place))
const device = openDevice('cpu', { threads: 1 })
const layer = 'model.layers.2.mlp.down_proj.weight'
const state = `${layer}.quant_state.bitsandbytes__nf4`

interface Stored {
  dtype: string
  shape: number[]
  bytes: Uint8Array
}

type Files = Map<string, Uint8Array>

/** A copy of the folder with its tensors changed. */
function changed(change: (tensors: Map<string, Stored>) => void): Files {
  const file = original.get('model.safetensors') as Uint8Array
  const end = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true))
  const header = JSON.parse(Buffer.from(file.subarray(8, end)).toString())
  const tensors = new Map<string, Stored>()
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries<Record<string, never>>(
    header,
  )) {
    if (name === '__metadata__') continue
    const [from, to] = offsets as [number, number]
    tensors.set(name, { dtype, shape, bytes: file.slice(end + from, end + to) })
  }
  change(tensors)
  let offset = 0
  const entries = [...tensors].map(([name, { dtype, shape, bytes }]) => {
    const from = offset
    offset += bytes.length
    return [name, { dtype, shape, data_offsets: [from, offset] }]
  })
  const text = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const all = Buffer.concat([length, text, ...[...tensors.values()].map(({ bytes }) => bytes)])
  return new Map(original).set('model.safetensors', all)
}

/** The folder with another state of one layer. */
function withState(change: (fields: Record<string, unknown>) => void): Files {
  return changed((tensors) => {
    const stored = tensors.get(state) as Stored
    const fields = JSON.parse(Buffer.from(stored.bytes).toString())
    change(fields)
    const bytes = Buffer.from(JSON.stringify(fields))
    tensors.set(state, { ...stored, shape: [bytes.length], bytes })
  })
}

const stored = (name: string, change: (tensor: Stored) => void) =>
  changed((tensors) => change(tensors.get(name) as Stored))

function configured(change: (config: Record<string, unknown>) => void): Files {
  const config = JSON.parse(Buffer.from(original.get('config.json') ?? '').toString())
  change(config.quantization_config)
  return new Map(original).set('config.json', Buffer.from(JSON.stringify(config)))
}

async function load(files: Files): Promise<void> {
  const model = await loadCausalLM(memoryFolder(files), { device, onWarning() {} })
  model.dispose()
}

after(() => device.close())

describe('a damaged bitsandbytes folder', () => {
  const parts = ['absmax', 'quant_map', 'nested_absmax', 'nested_quant_map', 'quant_state.bitsandbytes__nf4']
  const damages: Record<string, [Files, RegExp]> = {
    ...Object.fromEntries(
      parts.map((part) => [
        `without ${part}`,
        [changed((tensors) => tensors.delete(`${layer}.${part}`)), /down_proj\.weight\.\S+ is missing/],
      ]),
    ),
    'no codes': [changed((tensors) => tensors.delete(layer)), /down_proj\.weight is missing/],
    'a map of 15 values': [
      stored(`${layer}.quant_map`, (tensor) => {
        tensor.shape = [15]
        tensor.bytes = tensor.bytes.slice(4)
      }),
      /quant_map must be float32 \[16\]; it is float32 \[15\]/,
    ],
    'a map of other values': [
      stored(`${layer}.quant_map`, ({ bytes }) => {
        bytes[4 * 3] ^= 1
      }),
      /quant_map must hold the values of nf4, -0\.39\d+ for code 3; it has -0\.39\d+$/,
    ],
    'a block size of other scales': [
      withState((fields) => {
        fields.blocksize = 32
      }),
      /absmax must be uint8 \[344\]; it is uint8 \[172\]/,
    ],
    'a block size of nothing': [
      withState((fields) => {
        fields.blocksize = 0
      }),
      /blocksize must be a positive integer; received 0/,
    ],
    'a turned shape': [
      withState((fields) => {
        fields.shape = [172, 64]
      }),
      /must be of a weight \[64,172\], as the model's; it says \[172,64\]/,
    ],
    'no shape': [
      withState((fields) => {
        fields.shape = null
      }),
      /shape must be a list of integers, 0 or more; received null/,
    ],
    'another type within': [
      withState((fields) => {
        fields.quant_type = 'fp4'
      }),
      /quant_type must be nf4; received "fp4"/,
    ],
    'an unknown dtype': [
      withState((fields) => {
        fields.dtype = 'float64'
      }),
      /dtype must be float32, float16 or bfloat16; received "float64"/,
    ],
    'half a nested state': [
      withState((fields) => delete fields.nested_offset),
      /nested_offset must be a finite number/,
    ],
    'no nested state': [
      withState((fields) => {
        for (const key of ['nested_blocksize', 'nested_dtype', 'nested_offset']) delete fields[key]
      }),
      /absmax must be float32 \[172\]; it is uint8 \[172\]/,
    ],
    'no JSON': [
      stored(state, ({ bytes }) => {
        bytes[3] = 0
      }),
      /quant_state\.bitsandbytes__nf4/,
    ],
    'a long state': [
      stored(state, (tensor) => {
        tensor.bytes = Buffer.alloc(20_000, ' ')
        tensor.shape = [20_000]
      }),
      /must be the bytes of a JSON object, at most 10000; it is uint8, 20000 bytes/,
    ],
    'a scale that is no number': [
      stored(`${layer}.nested_absmax`, ({ bytes }) => bytes.fill(255)),
      /nested_absmax must hold finite numbers; value 0 is NaN or infinite/,
    ],
    'codes of another length': [
      stored(layer, (tensor) => {
        tensor.bytes = tensor.bytes.slice(1)
        tensor.shape = [tensor.bytes.length, 1]
      }),
      /down_proj\.weight must be uint8 \[5504,1\]; it is uint8 \[5503,1\]/,
    ],
    '8 bits': [
      configured((config) => {
        config.load_in_8bit = true
      }),
      /load_in_8bit must be false/,
    ],
  }
  for (const [name, [files, message]] of Object.entries(damages)) {
    test(name, async () => {
      const before = device.allocatedBytes
      await assert.rejects(load(files), (error: Error) => {
        assert.ok(error instanceof FormatError, error.name)
        assert.match(error.message, message)
        return true
      })
      assert.equal(device.allocatedBytes, before)
    })
  }

  test('codes that are stored as values of other dtypes are the same codes', async () => {
    for (const [dtype, size] of [
      ['BF16', 2],
      ['F16', 2],
      ['F32', 4],
      ['I8', 1],
      ['F64', 8],
    ] as const) {
      const files = stored(layer, (tensor) => {
        tensor.dtype = dtype
        tensor.shape = [tensor.bytes.length / size, 1]
      })
      using model = await loadCausalLM(memoryFolder(files), { device })
      using whole = await loadCausalLM(memoryFolder(original), { device })
      const [ours, theirs] = [model, whole].map((one) => one.getParameter(layer).dequantize())
      assert.deepEqual(await ours.readBytes(), await theirs.readBytes(), dtype)
      ours.dispose()
      theirs.dispose()
    }
  })

  test(`${cases} mutations of states and parts: a model, or one of three errors`, async () => {
    const before = device.allocatedBytes
    const names = [...changedNames()]
    let refused = 0
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.constantFrom('byte', 'cut', 'dtype', 'shape', 'drop', 'rename'),
        fc.nat(),
        fc.jsonValue({ maxDepth: 1 }),
        async (name, kind, at, value) => {
          const files = changed((tensors) => {
            const tensor = tensors.get(name) as Stored
            const i = at % tensor.bytes.length
            if (kind === 'byte') tensor.bytes[i] ^= 1 + ((at >>> 8) & 127)
            else if (kind === 'cut') {
              tensor.bytes = tensor.bytes.slice(0, i)
              tensor.shape = [i]
              tensor.dtype = 'U8'
            } else if (kind === 'dtype') {
              tensor.dtype = 'I8'
              tensor.shape = [tensor.bytes.length]
            } else if (kind === 'shape') tensor.shape = [1, ...tensor.shape]
            else tensors.delete(name)
            if (kind === 'rename') tensors.set(`${name}.${JSON.stringify(value).slice(0, 20)}`, tensor)
          })
          try {
            await load(files)
          } catch (error) {
            if (!(error instanceof FormatError || error instanceof ShapeError || error instanceof DTypeError))
              throw error
            assert.ok(error.message.length < 5000)
            refused++
          }
          assert.equal(device.allocatedBytes, before)
        },
      ),
      { numRuns: cases },
    )
    assert.ok(refused > cases / 2, `${refused} of ${cases} were refused`)
  })
})

/** The tensors of one quantized layer. */
function* changedNames(): Generator<string> {
  const names: string[] = []
  changed((tensors) => names.push(...tensors.keys()))
  for (const name of names) if (name.startsWith(layer)) yield name
}

test('numbers as Python writes floats', () => {
  const python = { 0: '0.0', 1: '1.0', 0.0001: '0.0001', 0.00001: '1e-05', 1.5e-7: '1.5e-07', 1e16: '1e+16' }
  for (const [value, text] of Object.entries(python)) assert.equal(pythonFloat(Number(value)), text)
  assert.equal(pythonFloat(0.32861053943634033), '0.32861053943634033')
  assert.equal(pythonFloat(123456789012345680), '1.2345678901234568e+17')
})
