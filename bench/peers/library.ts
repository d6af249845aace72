import { createInterface } from 'node:readline'
import type { LayerWork } from './works.ts'

/** A piece of work that a library computes. */
export interface Prepared {
  /** What computes it. */
  readonly what: string
  /** Of one weight. */
  readonly bytes: number
  /** Computes `calls` products. */
  readonly run: () => Promise<void> | void
  readonly calls: number
}

/** A library that products are measured beside. */
export interface Library {
  versions(): string
  prepare(work: LayerWork): Promise<Prepared> | Prepared
}

type Request = { call: 'versions' } | { call: 'prepare'; work: LayerWork } | { call: 'time'; ms: number }

/** Answers with what `library` prepares until the input ends, as python/serve.py says. */
export async function serveLibrary(library: Library): Promise<void> {
  let prepared: Prepared | undefined
  const answer = async (line: string): Promise<unknown> => {
    const request = JSON.parse(line) as Request
    if (request.call === 'versions') return library.versions()
    if (request.call === 'time' && prepared) return least(prepared, request.ms)
    if (request.call !== 'prepare') throw new Error('no work was prepared')
    prepared = await library.prepare(request.work)
    await prepared.run()
    return { what: prepared.what, bytes: prepared.bytes }
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const reply = await answer(line).then(
      (result) => ({ result }),
      (error: Error) => ({ error: error.message }),
    )
    process.stdout.write(`${JSON.stringify(reply)}\n`)
  }
  process.exit(0)
}

/** The least milliseconds of a product, of `ms` milliseconds of them. */
async function least({ run, calls }: Prepared, ms: number): Promise<number> {
  let least = Infinity
  for (const begun = performance.now(); performance.now() - begun < ms; ) {
    const started = performance.now()
    await run()
    least = Math.min(least, performance.now() - started)
  }
  return least / calls
}
