import type { Module } from '../../nn/module.ts'
import type { Observation } from '../../nn/observe.ts'
import { mapHeld } from '../../tensor/held.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedBlock, CalibratedLayer } from '../calibrated/algorithm.ts'
import type { Feed } from '../structure/feeds.ts'
import { isMultiplier } from '../structure/multiplier.ts'
import { InputMoments } from './inputMoments.ts'

/** A call of a module that is made again, with tensors that it holds. */
export interface Call {
  readonly args: readonly unknown[]
  readonly tensors: readonly Tensor[]
}

/** What is to be seen of a block. */
export interface Wanted {
  readonly model: Module
  readonly feeds: readonly Feed[]
  /** Tokens of which calls are kept, about. */
  readonly tokens: number
  /** Whether products of the inputs of all layers are summed, group by group. */
  readonly grams: boolean
}

/** What the layers of a block take, and the calls of the modules by whose outputs scales are judged. */
export class BlockInputs {
  private readonly block: CalibratedBlock
  private readonly wanted: Wanted
  /** By the path of a layer; those that take the same tensor share it. */
  private readonly moments = new Map<string, InputMoments>()
  private readonly calls = new Map<Feed, Call[]>()
  /** The modules that ran in the passes. */
  private readonly ran = new Set<Module>()
  /** The layer that takes a tensor first, of those that take the same. */
  private readonly leaders = new Set<string>()
  /** The tensors of a sample, and the layer that took each first. */
  private readonly taken = new Map<Tensor, string>()
  /** Of so many samples the calls of one are kept. */
  private stride = 1

  constructor(block: CalibratedBlock, wanted: Wanted) {
    this.block = block
    this.wanted = wanted
  }

  /** Of the inputs of a layer; undefined where it never ran. */
  of(path: string): InputMoments | undefined {
    return this.moments.get(path)
  }

  callsOf(feed: Feed): readonly Call[] {
    return this.calls.get(feed) ?? []
  }

  /** Whether what feeds the layers ran here: what was made before the block stays as it is. */
  reaches({ from }: Feed): boolean {
    return this.ran.has(this.wanted.model.getModule(from))
  }

  /** The layers of a feed that are to be quantized. */
  layersOf({ to }: Feed): CalibratedLayer[] {
    return to.flatMap((path) => this.block.layers.get(path) ?? [])
  }

  /** The module whose output shows how good scales are: the one around all layers; null for a layer alone. */
  judgeOf(feed: Feed): (Module & { forward(...args: unknown[]): Tensor }) | null {
    const paths = this.layersOf(feed).map(({ path }) => path.split('.'))
    if (paths.length === 1) return null
    const modules = new Map(this.wanted.model.namedModules())
    for (let length = paths[0].length - 1; length > 0; length--) {
      const prefix = paths[0].slice(0, length).join('.')
      const module = modules.get(prefix)
      const isAround = paths.every((path) => path.slice(0, length).join('.') === prefix)
      if (isAround && module && canRun(module)) return module
    }
    return canRun(this.block.module) ? this.block.module : null
  }

  /** Passes all samples through the block. */
  async collect(): Promise<void> {
    const { block, wanted } = this
    let sample = 0
    const observations: Observation[] = []
    for (const path of new Set([...wanted.feeds.flatMap(({ to }) => to), ...block.layers.keys()])) {
      const layer = wanted.model.getModule(path)
      if (isMultiplier(layer))
        observations.push(layer.observe({ input: ([x]) => this.see(path, x, sample === 0) }))
    }
    for (const feed of wanted.feeds) {
      observations.push(
        wanted.model
          .getModule(feed.from)
          .observe({ input: () => this.ran.add(wanted.model.getModule(feed.from)) }),
      )
      const judge = this.judgeOf(feed)
      if (!judge) continue
      const calls: Call[] = []
      this.calls.set(feed, calls)
      const input = (args: readonly unknown[]) => {
        if (sample % this.stride === 0) calls.push(callOf(args))
      }
      observations.push(judge.observe({ input }))
    }
    try {
      for (; sample < block.samples; sample++) {
        const x = await block.input(sample)
        noGrad(() => scope(() => void block.forward(sample, x)))
        x?.dispose()
        this.taken.clear()
        await block.device.sync()
        block.signal?.throwIfAborted()
      }
    } finally {
      for (const end of observations) end()
    }
  }

  private see(path: string, x: unknown, isFirst: boolean): void {
    if (!(x instanceof Tensor)) return
    const K = x.size(-1)
    const M = x.numel / K
    if (isFirst) {
      const leader = this.taken.get(x) ?? path
      this.taken.set(x, leader)
      const known = this.moments.get(leader)
      this.moments.set(path, known ?? new InputMoments(this.summedColumns(path, K)))
      if (leader === path) this.leaders.add(path)
      const samples = Math.ceil(this.wanted.tokens / M)
      this.stride = Math.max(1, Math.floor(this.block.samples / samples))
    }
    if (this.leaders.has(path)) scope(() => this.moments.get(path)?.add(x.view([M, K])))
  }

  /** The columns whose products are summed: all of a layer that is judged by itself, else those of a group. */
  private summedColumns(path: string, K: number): number | null {
    const { feeds, grams } = this.wanted
    if (feeds.some((feed) => feed.to.includes(path) && this.judgeOf(feed) === null)) return K
    const layer = this.block.layers.get(path)
    return layer && grams ? groupSizeOf(layer) : null
  }

  dispose(): void {
    for (const moments of new Set(this.moments.values())) moments.dispose()
    for (const { tensors } of [...this.calls.values()].flat()) for (const tensor of tensors) tensor.dispose()
  }
}

/** Columns of a layer's weight that share a scale. */
export function groupSizeOf({ float, twin }: CalibratedLayer): number {
  const [, K] = twin.outputRows(float.weight).shape
  return Math.min(twin.quantization.groupSize ?? K, K)
}

function canRun(module: Module): module is Module & { forward(...args: unknown[]): Tensor } {
  return typeof Reflect.get(module, 'forward') === 'function'
}

/** Holds the tensors of a call beyond the pass that it is made in. */
function callOf(args: readonly unknown[]): Call {
  const tensors: Tensor[] = []
  const held = mapHeld(args, (one) => {
    if (!(one instanceof Tensor)) return one
    const own = keep(one.view(one.shape))
    tensors.push(own)
    return own
  })
  return { args: held as readonly unknown[], tensors }
}
