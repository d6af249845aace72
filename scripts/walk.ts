/*
 * What a stranger walks through: the files and functions of src/ that one product with a quantized weight
 * enters, and the loading of one quanto folder.
 *
 *   node --conditions=lowbit-source scripts/walk.ts [OTHER_CLONE]
 */
import { Session } from 'node:inspector/promises'
import { relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const session = new Session()
session.connect()
await session.post('Profiler.enable')
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })

/** Prints what `body` enters in the sources of a clone. */
async function walk(name: string, clone: string, body: () => unknown): Promise<void> {
  // Once before, so that what is made at the first use is there.
  await body()
  await session.post('Profiler.takePreciseCoverage')
  await body()
  const { result } = await session.post('Profiler.takePreciseCoverage')
  const source = pathToFileURL(resolve(clone, 'src/')).href
  const entered = result
    .filter(({ url }) => url.startsWith(source))
    .map(({ url, functions }) => ({
      file: relative(resolve(clone, 'src'), fileURLToPath(url)),
      functions: functions.filter((f) => f.functionName !== '' && f.ranges[0].count > 0).length,
    }))
    .filter(({ functions }) => functions > 0)
  const rooms = new Map<string, number>()
  for (const { file } of entered) {
    const room = file.split('/')[0]
    rooms.set(room, (rooms.get(room) ?? 0) + 1)
  }
  const functions = entered.reduce((sum, each) => sum + each.functions, 0)
  const listed = [...rooms].map(([room, files]) => `${room} ${files}`).join(', ')
  console.log(`${name}: ${entered.length} files, ${functions} functions (${listed})`)
}

for (const clone of [...process.argv.slice(2), root]) {
  const {
    freeze,
    initialize,
    Linear,
    loadCausalLM,
    openDevice,
    quantize,
    scope,
    Tensor,
  }: typeof import('../src/index.ts') = await import(pathToFileURL(resolve(clone, 'src/index.ts')).href)
  const device = openDevice('cpu', { threads: 1 })
  const holder = { layer: new Linear(64, 64) }
  const { Sequential }: typeof import('../src/index.ts') = await import(
    pathToFileURL(resolve(clone, 'src/index.ts')).href
  )
  const model = new Sequential(holder.layer)
  initialize(model, device, { seed: 0 })
  quantize(model, { weights: 'int4' })
  freeze(model)
  const x = Tensor.full(device, [1, 64], 1)
  console.log(clone === root ? 'this clone' : clone)
  await walk('  one product', clone, () => scope(() => void model.forward(x)))
  const folder = resolve(clone, 'test/golden/stories260K/quanto-qint4')
  await walk('  one folder', clone, async () => (await loadCausalLM(folder, { device })).dispose())
  x.dispose()
  model.dispose()
  await device.close()
}
