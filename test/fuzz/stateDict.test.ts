import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { requantize, type SavedTensor, stateDict, type TypeMap } from '../../src/checkpoints/stateDict.ts'
import { type DType, dtypes } from '../../src/core/dtype.ts'
import { DTypeError, FormatError, ShapeError } from '../../src/core/errors.ts'
import { openDevice } from '../../src/devices/open.ts'
import { formatQuantoMap, parseQuantoMap, quantoTypes } from '../../src/formats/schemes/quantoMap.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { freeze, quantizationMap, quantize } from '../../src/quantize/quantize.ts'

/*
 * State dictionaries and quantization maps, changed anywhere: a model or one of three errors, and a failure
 * leaves nothing allocated.
 */

const cases = Number(process.env.LOWBIT_FUZZ_CASES ?? 200)
const device = openDevice('cpu', { threads: 1 })
after(() => device.close())

class Net extends Module {
  first = new Linear(64, 32)
  second = new Linear(32, 10)
}

/** A frozen network's state and map. */
async function saved(): Promise<{ state: Map<string, SavedTensor>; map: TypeMap }> {
  using net = initialize(new Net(), device)
  quantize(net, { weights: 'int4', activations: 'int8' })
  freeze(net)
  return { state: await stateDict(net), map: quantizationMap(net) }
}

const change = fc.record({
  place: fc.nat(),
  kind: fc.constantFrom('drop', 'rename', 'shape', 'dtype', 'bytes', 'type', 'path'),
  dtype: fc.constantFrom(...(Object.keys(dtypes) as DType[])),
  shape: fc.array(fc.integer({ min: 0, max: 64 }), { maxLength: 3 }),
  /** What the bytes become: all NaN in float32, zeros, … */
  byte: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff),
  type: fc.constantFrom('none', 'int2', 'int8', 'float8', 'qint4', 'int9', ''),
})

test(`${cases} changes of a state and its map`, async (t) => {
  const { state: original, map: originalMap } = await saved()
  const outcomes = new Map<string, number>()
  const before = device.allocatedBytes
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 2 }), async (changes) => {
      const state = new Map(original)
      const map: Record<string, TypeMap[string]> = structuredClone(originalMap)
      for (const { place, kind, dtype, shape, byte, type } of changes) {
        const [name, tensor] = [...state][place % state.size]
        const [path, entry] = Object.entries(map)[place % 2]
        if (kind === 'drop') state.delete(name)
        else if (kind === 'rename') state.delete(name) && state.set(`${name}x`, tensor)
        else if (kind === 'shape') state.set(name, { ...tensor, shape })
        else if (kind === 'dtype') state.set(name, { ...tensor, dtype })
        else if (kind === 'bytes')
          state.set(name, { ...tensor, bytes: new Uint8Array(tensor.bytes.length).fill(byte) })
        else if (kind === 'type')
          map[path] = { ...entry, [place % 3 === 0 ? 'activations' : 'weights']: type }
        else map[`${path}.${name}`] = entry
      }
      const model = new Net()
      const { first } = model
      let outcome = 'loaded'
      try {
        await requantize(model, state, map, { device })
      } catch (error) {
        if (!(error instanceof FormatError || error instanceof ShapeError || error instanceof DTypeError))
          throw error
        assert.ok(!error.message.includes('\n') && error.message.length < 2000, error.message)
        outcome = error.name
      }
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      assert.equal(model.first === first, outcome !== 'loaded', 'a model that refused has its float layers')
      model.dispose()
      assert.equal(device.allocatedBytes, before, `${outcome}: nothing stays allocated`)
    }),
    { numRuns: cases },
  )
  t.diagnostic([...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(', '))
})

test(`${cases} quantization maps are read as they were written`, () => {
  const activations = fc.option(fc.constantFrom(...quantoTypes.filter(({ bits }) => bits === 8)), {
    nil: undefined,
  })
  const weights = fc.option(fc.constantFrom(...quantoTypes), { nil: undefined })
  const entry = fc.record({ weights, activations, outputQuantized: fc.boolean() }, { noNullPrototype: true })
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), entry)), (entries) => {
      const map = new Map(entries)
      assert.deepEqual(parseQuantoMap(new TextEncoder().encode(formatQuantoMap(map)), 'map'), map)
    }),
    { numRuns: cases },
  )
})
