/*
 * Another clone of lowbit beside this one, in one process and taking turns, so that whatever else the machine
 * does meets both. Both must have been built.
 *
 *   npm run bench:before -- OTHER_CLONE [--rounds 15] [--threads 2] [--model FOLDER_OR_GGUF]…
 *       [--only training|models|scales]
 *
 * A line for each work: the median over the rounds of there ÷ here by time, so 1.10 means that this clone is
 * 1.1 times as fast as the other.
 */
import { execFileSync } from 'node:child_process'
import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '15' },
    threads: { type: 'string', default: '2' },
    model: { type: 'string', multiple: true },
    only: { type: 'string' },
  },
})
const [other] = positionals
if (!other) throw new Error('bench:before: the other clone must be named; received none')
const [rounds, threads] = [Number(values.rounds), Number(values.threads)]
const here = fileURLToPath(new URL('..', import.meta.url))

type Library = typeof import('../src/index.ts')
type Trainings = typeof import('./training/models.ts')
const from = <M>(clone: string, file: string) =>
  import(pathToFileURL(resolve(clone, file)).href) as Promise<M>
const clones = await Promise.all(
  [other, here].map(async (clone) => ({
    library: await from<Library>(clone, 'src/index.ts'),
    trainings: await from<Trainings>(clone, 'bench/training/models.ts'),
  })),
)

const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[numbers.length >> 1]

/** Milliseconds of two works in turn, the first in every other round the second; a round before warms up. */
async function compare(name: string, works: (() => Promise<number>)[]): Promise<void> {
  const ratios: number[] = []
  const best = [Infinity, Infinity]
  for (let round = 0; round <= rounds; round++) {
    const ms = [0, 0]
    for (const which of round % 2 ? [0, 1] : [1, 0]) ms[which] = await works[which]()
    if (round === 0) continue
    ratios.push(ms[0] / ms[1])
    for (const which of [0, 1]) best[which] = Math.min(best[which], ms[which])
  }
  const ratio = median(ratios).toFixed(3)
  const fastest = (best[0] / best[1]).toFixed(3)
  console.log(
    `${name}: ${ratio} (of the fastest ${fastest}: ${best.map((ms) => ms.toFixed(2)).join(' and ')} ms)`,
  )
}

async function compareModel(place: string, device: 'native' | 'wasm'): Promise<void> {
  const models = await Promise.all(
    clones.map(({ library }) =>
      library.loadCausalLM(place, { device: library.openDevice(device, { threads }) as never }),
    ),
  )
  for (const [work, promptTokens, newTokens] of [
    ['prefill', 256, 1],
    ['decode', 8, 64],
  ] as const) {
    const time = async (which: number) => {
      const options = { promptTokens, newTokens, runs: 1 }
      const result = await clones[which].library.bench(models[which] as never, options)
      return work === 'prefill' ? result.firstTokenMs : result.msPerToken
    }
    await compare(`${place.split('/').at(-1)} ${device} ${work}`, [() => time(0), () => time(1)])
  }
  for (const model of models) {
    const { device: used } = model
    model.dispose()
    await used.close()
  }
}

async function compareTraining(name: string): Promise<void> {
  const sides = await Promise.all(
    clones.map(async ({ library, trainings }) => {
      const device = library.openDevice('native', { threads })
      const trainer = await trainings.Trainer.create(trainings.trainings[name], device as never)
      return { device, trainer, steps: trainings.trainings[name].steps }
    }),
  )
  const time = async (which: number) => {
    const { device, trainer, steps } = sides[which]
    const started = performance.now()
    for (let step = 0; step < steps; step++) {
      trainer.step().dispose()
      await device.sync()
    }
    return (performance.now() - started) / steps
  }
  await compare(`${name} step`, [() => time(0), () => time(1)])
  for (const { device, trainer } of sides) {
    trainer.dispose()
    await device.close()
  }
}

/**
 * A layer with int4 weights in groups of 32 and one row of x: of float32 weights there, of bfloat16 weights
 * here, which hold their scales and shifts in half the bytes. Copies of more than 512 MB take turns.
 */
async function compareScales(computeDtype: 'float32' | 'int8'): Promise<void> {
  const [features, copies] = [4096, 64]
  const sides = clones.map(({ library }, which) => {
    const device = library.openDevice('native', { threads })
    const dtype = which === 0 ? 'float32' : 'bfloat16'
    const float = new library.Linear(features, features, { bias: false, dtype })
    const first = new library.Sequential(library.initialize(float, device as never) as never)
    library.quantize(first, { weights: 'int4', groupSize: 32 })
    library.freeze(first)
    library.setComputeDtype(first, computeDtype)
    const layers = [first, ...Array.from({ length: copies - 1 }, () => first.clone())]
    const x = Float32Array.from({ length: features }, (_, i) => Math.sin(i))
    return { device, layers, x: library.Tensor.fromArray(device as never, x, [1, features]) }
  })
  const time = async (which: number) => {
    const { device, layers, x } = sides[which]
    const started = performance.now()
    for (const layer of layers) layer.forward(x as never).dispose()
    await device.sync()
    return (performance.now() - started) / copies
  }
  await compare(`int4 layer in ${computeDtype}, half scales`, [() => time(0), () => time(1)])
  for (const { device, layers, x } of sides) {
    for (const owned of [...layers, x]) owned.dispose()
    await device.close()
  }
}

if (values.only === undefined || values.only === 'scales')
  for (const computeDtype of ['float32', 'int8'] as const) await compareScales(computeDtype)
if (values.only === undefined || values.only === 'models') {
  const fetch = fileURLToPath(new URL('../scripts/fetch-smollm2.mjs', import.meta.url))
  const smollm2 = () => execFileSync(process.execPath, [fetch], { encoding: 'utf8' }).trim()
  const places = values.model ?? [fileURLToPath(new URL('../models/stories260K', import.meta.url)), smollm2()]
  for (const place of places)
    for (const device of ['native', 'wasm'] as const) await compareModel(place, device)
}
if (values.only === undefined || values.only === 'training') {
  for (const name of Object.keys(clones[1].trainings.trainings)) await compareTraining(name)
}
