import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { loadStateDict, stateDict } from '../../src/checkpoints/stateDict.ts'
import { openDevice } from '../../src/devices/open.ts'
import { backward, compile, fuse, Linear, Module, Tensor } from '../../src/index.ts'
import { initialize } from '../../src/nn/initialize.ts'
import { freeze, type QuantizeOptions, quantize } from '../../src/quantize/quantize.ts'
import { add, mul, sum } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'

/*
 * Layers of the user's own modules, computed together: what can be one, and what happens when it no longer is.
 */

const device = openDevice('cpu', { threads: 1 })
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})
const K = 256
const mapping = { attention: ['query', 'key', 'value', 'out'] }

class Mixer extends Module {
  query = new Linear(K, 48)
  key = new Linear(K, 40, { bias: false })
  value = new Linear(K, 40, { bias: false })
  out = new Linear(40, K)

  forward(x: Tensor): Tensor {
    return scope(() => this.out.forward(add(this.key.forward(x), mul(this.value.forward(x), 0.5))))
  }
}

const made = (options?: QuantizeOptions, seed = 1): Mixer => {
  const model = initialize(new Mixer(), device, { seed })
  for (const parameter of model.parameters()) if (parameter instanceof Tensor) parameter.requiresGrad = false
  if (!options) return model
  quantize(model, { exclude: ['query', 'out'], ...options })
  freeze(model)
  return model
}
const row = () =>
  Tensor.fromArray(
    device,
    Float32Array.from({ length: K }, (_, i) => Math.sin(i)),
    [1, K],
  )

async function given(model: Mixer, x = row()): Promise<number[]> {
  using y = model.forward(x)
  const numbers = [...(await y.toNumbers())]
  x.dispose()
  return numbers
}

/** The products of a pass, each with how many rows it has. */
function products(model: Mixer): number[] {
  const rows: number[] = []
  const { call } = device
  device.call = (kernel, args) => {
    if ('N' in args && kernel !== 'cast') rows.push(args.N as number)
    Reflect.apply(call, device, [kernel, args])
  }
  using x = row()
  using _ = model.forward(x)
  Reflect.deleteProperty(device, 'call')
  return rows
}

const fused: [name: string, options: QuantizeOptions | undefined, rows: number][] = [
  ['float32', undefined, 80],
  // From the second on, rows begin with a tile of 16.
  ['int8', { weights: 'int8' }, 88],
  ['int4', { weights: 'int4', groupSize: 64 }, 88],
  ['int4 in groups of 16', { weights: 'int4', groupSize: 16 }, 88],
  ['nf4', { weights: 'nf4', groupSize: 64 }, 88],
  ['q4_0', { weights: 'int4', algorithm: 'q4_0' }, 88],
  ['q4_k', { weights: 'int4', algorithm: 'q4_k' }, 88],
  ['hqq, zeros in floats', { weights: 'int4', algorithm: 'hqqZeros' }, 88],
  ['int4 with zero points', { weights: 'int4', groupSize: 64, zeroPoints: true }, 88],
]
for (const [name, options, rows] of fused)
  test(`${name}: two layers of the same facts are one product, of the same values`, async () => {
    using model = made(options)
    const before = await given(model)
    assert.deepEqual(products(model), [40, 40, K])
    assert.deepEqual(fuse(model, { mapping }).fused, [['key', 'value']])
    assert.deepEqual(products(model), [rows, K])
    assert.deepEqual(await given(model), before)
  })

const apart: [name: string, options: QuantizeOptions, why: RegExp][] = [
  ['floats beside codes', { weights: 'int8', include: 'value' }, /it has no bias, another a bias in float32/],
  [
    'scales quantized once more',
    { weights: 'nf4', algorithm: 'doubleQuant' },
    /a value of its scales serves/,
  ],
  ['activations', { weights: 'int8', activations: 'int8', strict: false }, /rounded by a scale of its own/],
  ['tiles', { weights: 'float8_e4m3fn', groupSize: 128, blockRows: 8 }, /which reach over rows/],
]
for (const [name, options, why] of apart)
  test(`${name}: layers stay apart, and give what they gave`, async () => {
    using model = made(options)
    const before = await given(model)
    const report = fuse(model, { mapping })
    assert.deepEqual(report.fused, [])
    assert.match(report.apart.find(({ path }) => path === 'value')?.why ?? '', why)
    assert.deepEqual(await given(model), before)
  })

test('int4 in groups of another size stays apart, and takes no part of what is joined', async () => {
  using model = made()
  quantize(model, { weights: 'int4', groupSize: 64, include: 'key' })
  quantize(model, { weights: 'int4', groupSize: 32, include: 'value' })
  freeze(model)
  const { apart } = fuse(model, { mapping: { mlp: ['key', 'value', 'out'] } })
  assert.deepEqual(apart[0], { path: 'key', why: 'it has groups of 64, another groups of 32' })
})

test('of several rows, and where gradients are asked for, each layer computes its own', async () => {
  using model = made()
  const gradient = async () => {
    using x = row()
    x.requiresGrad = true
    using _ = backward(() => sum(model.forward(x)))
    return [...(await (x.grad as Tensor).toNumbers())]
  }
  const [one, before] = [await given(model, Tensor.full(device, [1, K], 0.5)), await gradient()]
  fuse(model, { mapping })
  assert.deepEqual(await gradient(), before)
  assert.deepEqual(await given(model, Tensor.full(device, [2, K], 0.5)), [...one, ...one])
})

test('a layer that is called again, or alone, computes with what its weight is now', async () => {
  using model = made()
  fuse(model, { mapping })
  using x = row()
  const of = async (layer: Linear) => {
    using y = layer.forward(x)
    return [...(await y.toNumbers())]
  }
  const before = await of(model.key)
  assert.deepEqual(await of(model.key), before)
  for (const layer of [model.value, model.key]) {
    layer.weight.write(new Uint8Array(layer.weight.byteLength))
    assert.deepEqual(await of(layer), Array(40).fill(0))
  }
})

test('state and paths are as before; what is loaded, quantized anew or copied is computed with', async () => {
  using model = made({ weights: 'int4' })
  using other = made({ weights: 'int4' }, 2)
  const [state, before] = [await stateDict(model), await given(model)]
  const paths = [...model.namedTensors()].map(([path]) => path)
  fuse(model, { mapping })
  assert.deepEqual(await stateDict(model), state)
  assert.deepEqual(
    [...model.namedTensors()].map(([path]) => path),
    paths,
  )
  const copy = model.clone()
  await loadStateDict(model, await stateDict(other))
  assert.deepEqual(await given(model), await given(other))
  assert.deepEqual(products(model), [40, 40, K])
  fuse(model, { mapping })
  assert.deepEqual(products(model), [88, K])
  assert.deepEqual(await given(model), await given(other))
  assert.deepEqual(await given(copy), before)
  copy.dispose()
})

test('compile records the fused product, by the paths of its weights', async () => {
  using model = made({ weights: 'int8' })
  const expected = await given(model)
  fuse(model, { mapping })
  using x = row()
  using compiled = compile(model, [x])
  assert.equal(compiled.graph.find('linears').length, 1)
  assert.ok(compiled.graph.parameters.has('key.weight') && compiled.graph.parameters.has('value.weight'))
  using y = compiled.run(x) as Tensor
  assert.deepEqual([...(await y.toNumbers())], expected)
})

test('watchers see every layer', async () => {
  using model = made()
  fuse(model, { mapping })
  const seen: string[] = []
  const ends = (['key', 'value'] as const).map((name) => model[name].observe(() => seen.push(name)))
  await given(model)
  for (const end of ends) end()
  assert.deepEqual(seen, ['key', 'value'])
})

const refused: [name: string, run: (model: Mixer) => unknown, message: string][] = [
  [
    'a layer that there is not',
    (model) => fuse(model, { mapping: { mlp: ['gate', 'value', 'out'] } }),
    'fuse: mapping.mlp must name layers of a module; none of the model has gate, value',
  ],
  [
    'too few layers',
    (model) => fuse(model, { mapping: { mlp: ['key', 'out'] } }),
    'fuse: mapping: mlp must be a list of names of two or more layers and that of the output; received ["key","out"]',
  ],
  [
    'a model that trains',
    (model) => fuse(model.train()),
    'fuse: the model must not train, call eval(); the model (Mixer) does',
  ],
  [
    'a model that is not frozen',
    (model) => {
      quantize(model, { weights: 'int8', include: 'key' })
      fuse(model, { mapping })
    },
    'fuse: the model must be frozen, call freeze(model); key (QLinear) is not',
  ],
  [
    'parameters that learn',
    (model) => {
      model.value.weight.requiresGrad = true
      fuse(model, { mapping })
    },
    'fuse: layers that are fused must not learn, set requiresGrad of their parameters to false; that of value.weight is true',
  ],
  [
    'a length for what is no language model',
    (model) => fuse(model, { fuseMaxSeqLen: 16 }),
    'fuse: fuseMaxSeqLen is for language models; received a Mixer',
  ],
]
for (const [name, run, message] of refused)
  test(`refused: ${name}`, () => {
    using model = made()
    assert.throws(() => run(model), { message })
  })

test('refused: a model without weights', () => {
  assert.throws(() => fuse(new Mixer(), { mapping }), {
    message: 'fuse: the model must have its weights; query.weight has no memory',
  })
})
