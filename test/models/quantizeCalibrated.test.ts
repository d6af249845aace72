import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { quantizeCalibrated } from '../../src/models/quantizeCalibrated.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import type { Quantizer } from '../../src/qtensor/quantizer.ts'
import { relativeDistance } from '../../src/qtensor/relativeDistance.ts'
import { calibrate } from '../../src/quantize/calibrate.ts'
import type { CalibratedAlgorithm } from '../../src/quantize/calibrated/algorithm.ts'
import { ggufQuantizer } from '../../src/quantize/ggufQuantizers.ts'
import { freeze, quantize } from '../../src/quantize/quantize.ts'
import { quantizers } from '../../src/quantize/quantizers.ts'
import { keep, scope } from '../../src/tensor/scope.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'

const device = openDevice('cpu')
after(() => device.close())

const quantizer = ggufQuantizer('Q4_0', { importance: true })
const algorithm: CalibratedAlgorithm = { name: 'q4_0', options: { weights: 'int4' }, quantizer }
// Its 172 columns are no whole blocks of that type.
const exclude = ['*down_proj', 'lm_head']
const data = [0, 1, 2].map((i) => Array.from({ length: 20 + i }, (_, j) => (7 * i + 13 * j) % 512))

async function codesOf(model: CausalLM): Promise<Map<string, string>> {
  const codes = new Map<string, string>()
  for (const [path, weight] of model.namedTensors())
    if (weight instanceof QTensor) {
      const parts = scope(() => weight.codes())
      codes.set(path, Buffer.from(await parts.readBytes()).toString('hex'))
      parts.dispose()
    }
  return codes
}

const loaded = () => loadCausalLM('models/stories260K', { device })

test('a model taken as one block gets the codes that quantize, calibrate and freeze choose', async () => {
  const expected = await loaded()
  quantize(expected, { weights: 'int4', algorithm: quantizer, exclude })
  await calibrate(expected, () => {
    for (const ids of data) scope(() => void expected.forward(ids))
  })
  freeze(expected)
  const model = await loaded()
  const reports = await quantizeCalibrated(model, { algorithm, data, exclude, blocks: [] })
  assert.deepEqual(await codesOf(model), await codesOf(expected))
  assert.deepEqual(
    new Set(reports.map(({ path }) => `${path}.weight`)),
    new Set((await codesOf(model)).keys()),
  )
  for (const { tokens } of reports) assert.equal(tokens, 20 + 21 + 22)
})

/** What the layer at `path` takes of the first sample. */
function inputOf(model: CausalLM, path: string): Tensor {
  let x: Tensor | undefined
  using _ = model.getModule(path).observe({ input: ([taken]) => (x = keep((taken as Tensor).clone())) })
  scope(() => void model.forward(data[0]))
  return x as Tensor
}

test('a block takes what the quantized ones before it give', async () => {
  const path = 'model.layers.1.self_attn.q_proj'
  const quantized = await loaded()
  quantize(quantized, { weights: 'int4', algorithm: 'q4_0', exclude, include: 'model.layers.0.*' })
  freeze(quantized)
  const model = await loaded()
  const float = inputOf(model, path)
  const taken: Tensor[] = []
  const recording: Quantizer = {
    ...quantizers.q4_0,
    collects: (x, statistics) => void (statistics.get('first') ?? statistics.set('first', x.clone())),
    solve(weight, spec, statistics) {
      const x = statistics?.get('first')
      if (x) taken.push(keep(x.clone()))
      return quantizers.q4_0.solve(weight, spec)
    },
  }
  const blocks: number[] = []
  await quantizeCalibrated(model, {
    algorithm: { ...algorithm, quantizer: recording },
    ...{ data, exclude, onProgress: ({ block }) => blocks.push(block) },
  })
  assert.deepEqual([...new Set(blocks)], [1, 2, 3, 4, 5])
  // q, k, v, o, gate and up of the first block come before it.
  const [seen] = taken.slice(6)
  const expected = inputOf(quantized, path)
  const distance = (x: Tensor) => relativeDistance(() => [expected, x.view(expected.shape)])
  // The second block takes what the first one gives, quantized.
  const [own, ofFloat] = [await distance(seen), await distance(float)]
  assert.ok(own < 2 ** -11 && ofFloat > 0.01, `${own} ${ofFloat}`)
})

test('what fails leaves the model as it was', async () => {
  const model = await loaded()
  const before = new Map(model.namedTensors())
  const text = String(model)
  const abort = new AbortController()
  const onProgress = ({ block }: { block: number }) => block === 3 && abort.abort()
  await assert.rejects(
    quantizeCalibrated(model, { algorithm, data, exclude, onProgress, signal: abort.signal }),
    { name: 'AbortError' },
  )
  assert.equal(String(model), text)
  assert.deepEqual(new Map(model.namedTensors()), before)
  assert.ok(![...model.namedModules()].some(([, module]) => Object.hasOwn(module, 'forward')))
  scope(() => void model.forward([1, 2, 3]))
})

test('texts become samples by the model’s tokenizer, within its context', async () => {
  const texts = ['Once upon a time there was a little dog.', 'The sun was warm and the sky was blue.']
  const model = await loaded()
  const seen: number[] = []
  const counting: Quantizer = {
    ...quantizers.max,
    collects: (x) => void seen.push(x.size(-2)),
    solve: (weight, spec) => quantizers.max.solve(weight, spec),
  }
  const reports = await quantizeCalibrated(model, {
    ...{ data: texts, packing: false, include: 'model.layers.0.self_attn.q_proj' },
    algorithm: { name: 'max', options: { weights: 'int4' }, quantizer: counting },
  })
  const lengths = texts.map((text) => model.tokenizer?.encode(text).length ?? 0)
  assert.deepEqual(seen.toSorted(), lengths.toSorted())
  assert.equal(reports[0].tokens, lengths[0] + lengths[1])
})
