/*
 * What a forward pass costs that is recorded anew each time, beside the same as one kept list (`compile`):
 *
 *   node --conditions=lowbit-source bench/compiled.ts [--device native] [--threads 2] [--rounds 15] [--passes 40]
 *
 * The lines of a model take turns. A figure is that of the fastest round, the ratio the median over the
 * rounds.
 */
import { parseArgs } from 'node:util'
import { ResNet20 } from '../examples/cifar/resnet20.ts'
import { compile, freeze, initialize, loadCausalLM, type Module, openDevice, quantize } from '../src/index.ts'
import { scope } from '../src/tensor/scope.ts'
import { Tensor } from '../src/tensor/tensor.ts'

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'native' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '15' },
    passes: { type: 'string', default: '40' },
  },
})
const device = openDevice(options.device as 'native', { threads: Number(options.threads) })
const [rounds, passes] = [Number(options.rounds), Number(options.passes)]

/** Milliseconds of a pass, of `passes` that are queued together. */
async function time(pass: () => void): Promise<number> {
  const start = performance.now()
  for (let i = 0; i < passes; i++) scope(() => pass())
  await device.sync()
  return (performance.now() - start) / passes
}

async function compare(
  name: string,
  model: Module & { forward(x: Tensor): Tensor },
  x: Tensor,
): Promise<void> {
  using compiled = compile(model, [x])
  const lines = [() => void model.forward(x), () => void compiled.run(x)]
  for (const line of lines) await time(line)
  const times: number[][] = []
  for (let round = 0; round < rounds; round++) {
    const row: number[] = []
    for (const line of lines) row.push(await time(line))
    times.push(row)
  }
  const best = lines.map((_, i) => Math.min(...times.map((row) => row[i])))
  const ratios = times.map(([forward, kept]) => forward / kept).sort((a, b) => a - b)
  const [forward, kept] = best.map((ms) => ms.toFixed(3))
  const ratio = ratios[Math.floor(rounds / 2)].toFixed(2)
  console.log(
    `${name.padEnd(34)} forward ${forward} ms   compiled ${kept} ms   ${ratio} ×   ${compiled.length} kernels`,
  )
}

const image = Tensor.full(device, [1, 3, 32, 32], 0.5)
await compare('ResNet-20, one image', initialize(new ResNet20(), device).eval(), image)
const small = initialize(new ResNet20(), device).eval()
quantize(small, { weights: 'int8' })
freeze(small)
await compare('ResNet-20 int8, one image', small, image)
const ids = Tensor.fromArray(device, Int32Array.of(1, 5, 9, 20), [1, 4])
await compare('stories260K, four tokens', await loadCausalLM('models/stories260K', { device }), ids)
await device.close()
