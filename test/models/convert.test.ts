import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { save } from '../../src/checkpoints/save.ts'
import { openDevice } from '../../src/devices/open.ts'
import { relativeError } from '../../src/evaluate/weightError.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import type { ConvertedTensor } from '../../src/models/conversionPlan.ts'
import { type ConvertOptions, convert } from '../../src/models/convert.ts'
import { loadCausalLM, type ModelPlace } from '../../src/models/load.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { golden, readGolden } from '../golden.ts'

/*
 * Models go over to other formats: codes that can stay are those of the library that wrote them, bit for bit;
 * of others the plan says what they lose.
 */

const device = openDevice('cpu')
const root = mkdtempSync(join(tmpdir(), 'lowbit-convert-'))
after(async () => {
  rmSync(root, { recursive: true })
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

const item = (id: string) => join(golden, 'stories260K', id)
const stories = 'lowbit/models/stories260K'

/** Converts into memory. */
async function converted(source: ModelPlace, options: Omit<ConvertOptions, 'device'>) {
  const files = new Map<string, Uint8Array>()
  const warnings: string[] = []
  const onWarning = (message: string) => void warnings.push(message)
  const done = await convert(source, memoryFolder(files), { ...options, device, onWarning })
  return { ...done, files, warnings }
}

/** Asserts that every tensor of Python's file is in the other, bit for bit, but for those named. */
async function assertSameTensors(python: string, ours: Uint8Array): Promise<void> {
  const place = mkdtempSync(join(root, 'same-'))
  writeFileSync(join(place, 'model.safetensors'), ours)
  const [theirs, made] = [
    await readGolden(join(python, 'model.safetensors')),
    await readGolden(join(place, 'model.safetensors')),
  ]
  assert.deepEqual([...made.keys()].sort(), [...theirs.keys()].sort())
  for (const [name, { dtype, shape, bytes }] of theirs)
    assert.deepEqual(made.get(name), { ...made.get(name), dtype, shape, bytes }, name)
}

for (const [id, to] of [
  ['quanto-qint4', 'quanto'],
  ['quanto-qint8', 'quanto'],
  ['quanto-qint4-a8', 'quanto'],
  ['quanto-qfloat8', 'quanto'],
  ['bnb-nf4', 'bnb-nf4'],
  ['bnb-nf4-dq', 'bnb-nf4-double'],
  ['bnb-fp4', 'bnb-fp4'],
  ['bitnet-auto', 'bitnet'],
] as const)
  test(`${id}: the library's own bytes come out again`, async () => {
    const { tensors, files } = await converted(item(id), { to, exactOnly: true })
    assert.ok(tensors.every(({ exact, error }) => exact && error === 0))
    await assertSameTensors(item(id), files.get('model.safetensors') as Uint8Array)
  })

test("floats become BitNet's codes of Python, and its scales but for the order of sums", async () => {
  const { files } = await converted(stories, { to: 'bitnet' })
  const place = join(root, 'bitnet.safetensors')
  writeFileSync(place, files.get('model.safetensors') as Uint8Array)
  const [theirs, made] = [
    await readGolden(join(item('bitnet-auto'), 'model.safetensors')),
    await readGolden(place),
  ]
  assert.deepEqual([...made.keys()].sort(), [...theirs.keys()].sort())
  for (const [name, { bytes, values }] of theirs) {
    const found = made.get(name)
    if (!name.endsWith('_scale')) assert.deepEqual(found?.bytes, bytes, name)
    // 11,008 magnitudes that are added up in float32, some at a time.
    else assert.ok(Math.abs((found?.values[0] ?? 0) / values[0] - 1) < 2 ** -21, name)
  }
})

test('codes that are not ternary do not go over to BitNet', async () => {
  const { tensors } = await converted(item('quanto-qint2'), { to: 'bitnet' })
  assert.ok(tensors.some(({ reason }) => reason?.endsWith('BitNet takes one scale for the weight')))
})

test('the plan says what each tensor loses, and that is what it has lost', async () => {
  const { tensors, files } = await converted(item('bnb-nf4'), { to: 'quanto' })
  using before = await loadCausalLM(diskFolder(item('bnb-nf4')), { device, dequantize: true })
  using made = await loadCausalLM(memoryFolder(files), { device })
  for (const { path, exact, error, reason, to } of tensors) {
    const weight = made.getParameter(path)
    assert.equal(weight instanceof QTensor, to === 'qint8', path)
    assert.equal(await relativeError(before.getParameter(path), weight), error, path)
    assert.equal(exact, error === 0)
    assert.equal(reason?.startsWith('it is nf4, and quanto takes'), exact ? undefined : true)
  }
  assert.ok(tensors.some(({ exact }) => !exact))
})

test('a float model is quantized but for its head; include and exclude decide otherwise', async () => {
  const kinds = async (options: Omit<ConvertOptions, 'device'>) => {
    const { tensors } = await converted(join(golden, 'families/qwen2'), options)
    return new Map(tensors.map(({ path, to }) => [path, to]))
  }
  const usual = await kinds({ to: 'bnb-nf4' })
  const quantized = [...usual].filter(([, to]) => to.startsWith('nf4')).map(([path]) => path)
  assert.ok(
    quantized.length > 0 &&
      quantized.every((path) => /layers\.\d+\.(mlp|self_attn)\.\w+\.weight$/.test(path)),
  )
  assert.ok([...usual.keys()].every((path) => quantized.includes(path) || !/_proj\.weight$/.test(path)))
  const some = await kinds({ to: 'bnb-nf4', include: ['*.mlp.*'], exclude: ['*.down_proj'] })
  assert.ok(
    [...some].every(([path, to]) => to.startsWith('nf4') === /mlp\.(gate|up)_proj\.weight$/.test(path)),
  )
})

test('floats of any source: the same files as of a model that is dequantized and saved', async () => {
  const { files, tensors } = await converted(item('gptq-w4-g32-sym'), { to: 'safetensors' })
  assert.ok(tensors.every(({ exact }) => exact))
  using model = await loadCausalLM(diskFolder(item('gptq-w4-g32-sym')), { device, dequantize: true })
  const saved = new Map<string, Uint8Array>()
  await save(model, memoryFolder(saved))
  assert.deepEqual([...files.keys()], [...saved.keys()])
  for (const [name, bytes] of saved) assert.deepEqual(files.get(name), bytes, name)
  const config = JSON.parse(Buffer.from(files.get('config.json') as Uint8Array).toString())
  assert.equal(config.quantization_config, undefined)
})

test('activations that the target does not hold become floats, and that is said; codes stay', async () => {
  const { tensors, warnings } = await converted(item('quanto-qint4-a8'), { to: 'safetensors' })
  assert.match(
    warnings.join(),
    /convert: the target holds no quantized activations; those of \d+ layers become floats/,
  )
  assert.ok(tensors.every(({ exact }) => exact))
})

for (const [id, mode, said, lost] of [
  ['ct-w8a8', 'int8PerToken', 'compressed-tensors', 'quanto'],
  ['torchao-int8dyn', 'int8PerToken', 'torchao-int8', 'gguf:q8_0'],
  ['ct-fp8-dynamic', 'float8PerToken', 'compressed-tensors:fp8', 'fp8'],
  ['torchao-8da4w', 'int8AsymmetricPerToken', 'torchao-int4', 'safetensors'],
  ['bnb-int8', 'int8Outliers', 'bnb-int8', 'torchao-int8'],
  ['bitnet-packed', 'int8AbsmaxPerToken', 'bitnet', 'compressed-tensors'],
] as const)
  test(`${id}: what a format does not say of rounded inputs is told before anything is written`, async () => {
    const told = async (to: string) => {
      const { warnings } = await converted(item(id), { to })
      return warnings.filter((message) => message.includes('anew in every pass'))
    }
    assert.deepEqual(await told(said), [])
    const [message, ...others] = await told(lost)
    assert.deepEqual(others, [])
    assert.ok(
      message.startsWith(`convert: inputs are rounded anew in every pass (${mode}) in model.layers.0`),
    )
    assert.match(message, /and \d+ more; the format does not say so, and its readers compute otherwise$/)
  })

test('inputs that lowbit leaves floats are told of by a conversion, too', async () => {
  const { warnings } = await converted(item('ct-nvfp4'), { to: 'compressed-tensors:nvfp4' })
  assert.match(warnings.join(), /input_activations is passed over: inputs of 4-bit floats, .* stay floats/)
})

test('exactOnly refuses before anything is written', async () => {
  const target = join(root, 'exact')
  const options = { to: 'quanto', exactOnly: true, device } as const
  await assert.rejects(convert(item('bnb-nf4'), target, options), {
    name: 'FormatError',
    message:
      /^convert: every value must stay as it is \(exactOnly\); changed would be model\.\S+ → qint8 \(it is nf4/,
  })
  assert.ok(!existsSync(target))
})

test('types and group sizes that are asked for are made of codes that could stay', async () => {
  const seen: ConvertedTensor[] = []
  const { files } = await converted(item('quanto-qint4'), {
    to: 'quanto-int4',
    weights: 'int2',
    onPlan: (all) => void seen.push(...all),
  })
  assert.ok(
    seen.some(
      ({ to, reason }) => to.startsWith('qint2') && reason === 'it is qint4, and another is asked for',
    ),
  )
  assert.ok(!seen.some(({ to }) => to.startsWith('qint4')))
  using made = await loadCausalLM(memoryFolder(files), { device })
  assert.ok(String(made).includes('QLinear'))
})

test('targets and sources that there are not, or that are one', async () => {
  const place = join(root, 'same')
  cpSync('models/stories260K', place, { recursive: true })
  const before = readdirSync(place).map((name) => readFileSync(join(place, name)))
  await assert.rejects(convert(place, place, { to: 'quanto', device, overwrite: true }), {
    message: `convert: the target must be another place than the source; received ${place} for both`,
  })
  await assert.rejects(
    convert(place, join(place, '..', 'same'), { to: 'quanto', device }),
    /another place than the source/,
  )
  assert.deepEqual(
    readdirSync(place).map((name) => readFileSync(join(place, name))),
    before,
  )
  await assert.rejects(
    convert(stories, join(root, 'x'), { to: 'quantro', device }),
    /the target must be a format that is written; the nearest to "quantro" are quanto, /,
  )
  await assert.rejects(
    convert(stories, join(root, 'x'), { to: 'bnb-nf4', weights: 'int4', device }),
    /convert: weights of bnb-nf4 must be nf4 or fp4 or qint8; received qint4/,
  )
  await assert.rejects(
    convert(stories, root, { to: 'quanto', device }),
    /the folder must be empty or not exist/,
  )
  await assert.rejects(
    convert(stories, join(root, 'x'), { to: 'quanto', include: ['nowhere'], device }),
    /convert: "nowhere" must match a module/,
  )
})

test('an aborted conversion leaves nothing behind', async () => {
  const before = readdirSync(root)
  const stop = new AbortController()
  const options = {
    to: 'quanto',
    device,
    signal: stop.signal,
    onProgress: () => stop.abort(new Error('enough')),
  }
  await assert.rejects(convert(stories, join(root, 'aborted'), options), /enough/)
  const written = {
    ...options,
    onProgress: (step: string) => step === 'write' && stop.abort(new Error('enough')),
  }
  await assert.rejects(convert(stories, join(root, 'aborted'), written), /enough/)
  assert.deepEqual(readdirSync(root), before)
})
