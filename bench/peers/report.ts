import type { Limits } from '../limits.ts'
import type { Footprint } from './footprint.ts'
import type { Round, Speed, Work } from './measure.ts'
import type { Start } from './starts.ts'

/** A table: every row has the same columns, in the order in which they are shown. */
export type Row = Record<string, string>

/**
 * One row for each of ours and each measure, beside the peer in the same rounds. The fastest steps count for
 * the peer alone: ours are queued one ahead, so that one which comes late makes the next look fast.
 */
export function speedRows(speeds: Speed[], work: Work, limits: Limits[]): Row[] {
  const ours = speeds.filter(({ peer }) => !peer)
  const peer = speeds.find(({ peer }) => peer)
  const name = peer?.name ?? 'peer'
  const row = (
    what: string,
    speed: Speed,
    mine: keyof Round,
    theirs: keyof Round,
    share: (rate: number, speed: Speed) => string,
  ): Row => {
    const rate = median(speed.rounds.map((round) => round[mine]))
    const ratios = peer ? speed.rounds.map((round, i) => round[mine] / peer.rounds[i][theirs]) : []
    const peerRate = peer && median(peer.rounds.map((round) => round[theirs]))
    return {
      what,
      lowbit: `${speed.name}, ${speed.threads === 1 ? '1 thread' : `${speed.threads} threads`}`,
      'tokens/s': rate.toFixed(1),
      [name]: peerRate ? peerRate.toFixed(1) : '–',
      ratio: ratios.length > 0 ? `${median(ratios).toFixed(2)}×` : '–',
      spread: ratios.length > 0 ? `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}` : '–',
      'of the limit': share(rate, speed),
      [`${name}, of the limit`]: peer && peerRate ? share(peerRate, peer) : '–',
    }
  }
  const prefill = (rate: number, speed: Speed) => {
    const gops = (rate * work.prefillOperations) / 1e9
    return percent(gops, arithmeticLimit(speed, limits), `${gops.toFixed(0)} GOP/s`)
  }
  const decode = (rate: number, { threads }: Speed) => {
    const gbs = (rate * work.decodeBytes) / 1e9
    return percent(gbs, limitsAt(threads, limits)?.readGBs, `${gbs.toFixed(1)} GB/s`)
  }
  return [
    ...ours.map((speed) => row('prefill, 512 tokens', speed, 'prefill', 'prefill', prefill)),
    ...ours.map((speed) =>
      row(
        `decode, 64 tokens after 128; ${name}: its fastest tenth`,
        speed,
        'decode',
        'decodeFastest',
        decode,
      ),
    ),
    ...ours.map((speed) => row('decode, all steps of both', speed, 'decode', 'decode', decode)),
  ]
}

/** Of `speedRows`, what a reader wants first: products in int8, the peer at its best. */
export function shortRows(rows: readonly Row[]): Row[] {
  const what = (row: Row) =>
    row.what.startsWith('prefill') ? 'reading a prompt of 512 tokens' : 'writing 64 tokens'
  return rows
    .filter((row) => row.lowbit.includes(', int8,') && !row.what.includes('all steps'))
    .map((row) => ({
      what: what(row),
      lowbit: row.lowbit,
      'tokens/s': row['tokens/s'],
      'llama.cpp': row['llama.cpp'],
      ratio: row.ratio,
    }))
}

const limitsAt = (threads: number, limits: Limits[]) => limits.find((limit) => limit.threads === threads)

/**
 * float32 by multiply and add, int8 by the integer dot product: as wide as the registers, or the 128 bits
 * of WebAssembly.
 */
function arithmeticLimit({ name, device, threads }: Speed, limits: Limits[]): number | undefined {
  const limit = limitsAt(threads, limits)
  if (!limit) return undefined
  if (name.endsWith('float32')) return device === 'wasm' ? limit.f32Gflops128 : limit.f32Gflops
  return device === 'wasm' ? limit.int8Gops128 : limit.int8Gops
}

const percent = (value: number, limit: number | undefined, text: string) =>
  limit ? `${text}, ${((100 * value) / limit).toFixed(0)} %` : text

/** Memory, load and pauses: a column for each of those measured. */
export function footprintRows(
  footprints: ReadonlyMap<string, Footprint>,
  starts: ReadonlyMap<string, Start>,
  fileBytes: number,
): Row[] {
  const row = (
    what: string,
    cell: (measured: Footprint & Start) => number | undefined,
    goal: string,
  ): Row => {
    const cells = [...footprints].map(([name, footprint]) => {
      const measured = { ...footprint, ...(starts.get(name) as Start) }
      return [name, cell(measured)?.toFixed(0) ?? '–']
    })
    return { what, ...Object.fromEntries(cells), goal }
  }
  return [
    row(
      'peak memory of generate, 128 + 64 tokens, MB',
      ({ peakBytes }) => peakBytes / 1e6,
      `file + 150: ${(fileBytes / 1e6 + 150).toFixed(0)}`,
    ),
    row('load from the page cache, MB/s', ({ loadMs }) => fileBytes / 1e3 / loadMs, ''),
    row(
      'from the start of the process to the first token behind 128, ms',
      ({ firstTokenMs }) => firstTokenMs,
      '',
    ),
    row('longest pause while loading, ms', ({ loadPauseMs }) => loadPauseMs, '50'),
    row('longest pause of generate, prompt of 2,000, ms', ({ generatePauseMs }) => generatePauseMs, '50'),
    row('abort 100 ms into that prompt acts after, ms', ({ abortMs }) => abortMs, ''),
  ]
}

/** One row for each limit of the machine. */
export function limitRows(limits: Limits[]): Row[] {
  const row = (what: string, key: keyof Limits): Row => ({
    limit: what,
    ...Object.fromEntries(
      limits.map((limit) => [
        `${limit.threads} thread${limit.threads > 1 ? 's' : ''}`,
        limit[key] ? limit[key].toFixed(1) : '–',
      ]),
    ),
  })
  return [
    row('read memory, GB/s', 'readGBs'),
    row('int8 dot product, 128 bits, GOP/s', 'int8Gops128'),
    row('int8 dot product of WebAssembly, as V8 compiles it, GOP/s', 'wasmInt8Gops'),
    row('int8 dot product, widest registers, GOP/s', 'int8Gops'),
    row('float32 multiply-add, 128 bits, GFLOP/s', 'f32Gflops128'),
    row('float32 multiply-add, widest registers, GFLOP/s', 'f32Gflops'),
    row('bfloat16 multiply-add, widest registers, GFLOP/s', 'bf16Gflops'),
  ]
}

/** The rows as columns of text. */
export function text(rows: Row[]): string {
  if (rows.length === 0) return ''
  const columns = Object.keys(rows[0])
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))]
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i].length)))
  return lines
    .map(
      (line) =>
        line
          .map((cell, i) => cell.padEnd(widths[i]))
          .join('  ')
          .trimEnd() + '\n',
    )
    .join('')
}

/** How many of the first tokens are the same. */
export function sameTokens(a: number[], b: number[]): number {
  const differing = a.findIndex((id, i) => id !== b[i])
  return differing < 0 ? a.length : differing
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
