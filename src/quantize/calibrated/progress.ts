/** How far a run has come. */
export interface CalibratedProgress {
  /** The stretch whose layers are solved, from 1 up, and how many there are: what comes before and after blocks
   * is one, too. */
  block: number
  blocks: number
  /** '' where it is no block. */
  path: string
  /** What is done of the whole run, 0 to 1. */
  done: number
  /** A guess from the time so far. */
  secondsLeft: number
}

/** Counts passes of samples through stages, and tells of them. */
export class Progress {
  private readonly stages: number
  private readonly tell?: (progress: CalibratedProgress) => void
  private readonly start = performance.now()
  private stage = 0
  private path = ''
  private steps = 1
  private taken = 0

  constructor(stages: number, tell?: (progress: CalibratedProgress) => void) {
    this.stages = stages
    this.tell = tell
  }

  /** A stage begins, which takes so many steps. */
  begin(path: string, steps: number): void {
    this.stage++
    this.path = path
    this.steps = Math.max(steps, 1)
    this.taken = 0
    this.report()
  }

  step(): void {
    this.taken = Math.min(this.taken + 1, this.steps)
    this.report()
  }

  /** What is done of the stage, 0 to 1. */
  set(done: number): void {
    this.taken = Math.min(done, 1) * this.steps
    this.report()
  }

  private report(): void {
    const { stage: block, stages: blocks, path } = this
    if (block === 0) return
    const done = (block - 1 + this.taken / this.steps) / blocks
    const seconds = (performance.now() - this.start) / 1000
    this.tell?.({
      block,
      blocks,
      path,
      done,
      secondsLeft: done > 0 ? (seconds * (1 - done)) / done : Infinity,
    })
  }
}
