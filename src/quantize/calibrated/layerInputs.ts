import type { Observation } from '../../nn/observe.ts'
import { Statistics } from '../../qtensor/quantizer.ts'
import { add, concat, embedding } from '../../tensor/ops/index.ts'
import { keep, scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { CalibratedLayer } from './algorithm.ts'
import type { ExpertRows } from './expertRows.ts'

/** Rows of inputs that are kept to measure what quantization costs. */
const measuredRows = 512

/** What is known of the inputs that a group of layers shares. */
export class LayerInputs {
  readonly group: readonly CalibratedLayer[]
  readonly statistics = new Statistics()
  /** Where the group is of an expert: which rows are its own. */
  readonly expert: ExpertRows | null
  /** Rows that came. */
  tokens = 0
  /** Those of an expert, until they are read. */
  private counted: Tensor | null = null
  private readonly rowsOfSample: number
  private readonly kept: Tensor[] = []
  private readonly collects: boolean
  /** What the group takes in a pass through the float layers, until the pass through quantized ones. */
  private readonly ofFloat: Tensor[] = []
  private floating = false

  /**
   * @param samples that will come
   * @param collects whether statistics are made of them
   */
  constructor(
    group: readonly CalibratedLayer[],
    samples: number,
    collects: boolean,
    expert: ExpertRows | null = null,
  ) {
    this.group = group
    this.collects = collects
    this.expert = expert
    this.rowsOfSample = Math.ceil(measuredRows / samples)
  }

  /** Whether its layers multiply rows, of which something is to be known. */
  get seen(): boolean {
    return this.group[0].twin.inputRows !== undefined
  }

  /** Hears of what the group takes, each call of its first layer once. */
  watch(then?: () => void): Observation {
    return this.group[0].float.observe({
      input: ([x]) => {
        if (x instanceof Tensor) noGrad(() => scope(() => this.add(x)))
        then?.()
      },
    })
  }

  /** Whether the pass that comes is one through float layers, for what `seesFloat`. */
  hear(floating: boolean): void {
    this.floating = floating
  }

  private add(x: Tensor): void {
    const { twin } = this.group[0]
    const all = twin.inputRows?.(x)
    if (!all || all.numel === 0) return
    if (this.floating) {
      this.ofFloat.push(keep(all.clone()))
      return
    }
    const [rows, count] = this.expert ? this.expert.only(all) : [all, null]
    if (count) {
      const before = this.counted
      this.counted = keep(before ? add(before, count) : count)
      before?.dispose()
    } else this.tokens += rows.shape[0]
    const float = this.ofFloat.shift()
    if (this.collects) twin.quantization.quantizer.collects?.(rows, this.statistics, float)
    float?.dispose()
    this.kept.push(keep(someRows(rows, this.rowsOfSample)))
  }

  /** All has come. */
  async finish(): Promise<void> {
    if (this.counted) this.tokens = await this.counted.item()
  }

  /** Rows spread over all that came, [M, K]; of the running scope. */
  rows(): Tensor {
    return concat(this.kept, 0)
  }

  dispose(): void {
    this.statistics.dispose()
    this.counted?.dispose()
    for (const rows of [...this.kept, ...this.ofFloat]) rows.dispose()
    this.kept.length = 0
  }
}

/** At most so many rows, evenly spread. */
function someRows(rows: Tensor, count: number): Tensor {
  const [M] = rows.shape
  if (M <= count) return rows.clone()
  const places = Int32Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * M) / count))
  return embedding(rows, Tensor.fromArray(rows.device, places))
}
