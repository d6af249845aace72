/** Which halves of a table are to be measured. */
export interface Measures {
  quality: boolean
  speed: boolean
  /** Only settings with this in their name; the other rows stay as they were recorded. */
  only?: string
}

/** A row of a table: text by column; '' where a cell was not measured. */
export type Row = Record<string, string>

/** Bytes as megabytes, with a digit more where they are few. */
export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)
}

/** How long each speed is measured. */
const speedMs = 3000

/**
 * Per second of the CPU's time, on one thread: the most that `work` does, over many runs. What else the
 * machine does hardly counts.
 * @param work resolves to how much it did
 */
export async function mostPerSecond(work: () => Promise<number>): Promise<string> {
  const end = performance.now() + speedMs
  let best = 0
  for (let run = 0; run < 3 || performance.now() < end; run++) {
    const before = process.cpuUsage()
    const done = await work()
    const { user, system } = process.cpuUsage(before)
    best = Math.max(best, (1e6 * done) / (user + system))
  }
  return best.toFixed(best < 10 ? 1 : 0)
}
