// npm run bench:algorithms -- [gptq] [awq] [hqq] [spilled] [--samples 128] [--length 512] [--layers 30]
//     [--rounds 1] [--record]
//
// Calibrated quantization beside the libraries that it comes from, with their settings, two threads each,
// processes of their own in turns: GPTQ (4 bits, groups of 128) beside GPTQModel's and AWQ (4 bits, zero
// points, groups of 64) beside llm-compressor's, of SmolLM2-135M and the same random tokens; HQQ of a matrix
// of 4096 × 4096 to 4 bits in groups of 64 beside hqq's; `spilled` is GPTQ with hidden states in a file.
// Seconds of the clock are those of a machine that may have other work; the processor's are the process's
// own. `--layers` takes the first ones of the model. Python's libraries are found, or installed, as
// bench/algorithms/peers.ts says. --record puts the rows into bench/results/algorithms.json, from which
// scripts/readme.mjs writes the table of docs/calibrated.md.
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { Random } from '../src/core/random.ts'
import { floatModel } from './algorithms/model.ts'
import { type Peer, peers } from './algorithms/peers.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    samples: { type: 'string', default: '128' },
    length: { type: 'string', default: '512' },
    layers: { type: 'string', default: '30' },
    rounds: { type: 'string', default: '1' },
    record: { type: 'boolean', default: false },
  },
})
const [samples, length, layers] = [values.samples, values.length, values.layers].map(Number)
const here = import.meta.dirname
const temporary = mkdtempSync(join(tmpdir(), 'lowbit-algorithms-'))

/** What a process printed, the least of each over its runs and the rounds. */
interface Usage {
  seconds: number
  cpu: number
  peak: number
}

async function measured(command: string, args: readonly string[]): Promise<Usage> {
  const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 1e9 })
  const line = stdout.split('\n').findLast((text) => text.startsWith('{"seconds"'))
  if (!line) throw new Error(`bench:algorithms: ${args[0]} must print what it took; it printed ${stdout}`)
  const printed = JSON.parse(line)
  return { seconds: Math.min(...printed.seconds), cpu: Math.min(...printed.cpu), peak: printed.peak }
}

/** lowbit and a library in turns. */
async function turns(
  name: string,
  peer: Peer | null,
  ours: readonly string[],
  theirs: readonly string[],
): Promise<[Usage, Usage | null]> {
  const runs: [Usage, Usage | null][] = []
  const own = ['--conditions=lowbit-source', join(here, 'algorithms/child.ts'), ...ours]
  for (let round = 0; round < Number(values.rounds); round++) {
    const mine = await measured(process.execPath, own)
    const script = join(here, `peers/${name}_peer.py`)
    const other = peer && (await measured(await peer.python(), [script, ...theirs]))
    console.log(name, 'lowbit', mine, peer?.name ?? '', other ?? '')
    runs.push([mine, other])
  }
  const least = (of: readonly Usage[]): Usage => ({
    seconds: Math.min(...of.map(({ seconds }) => seconds)),
    cpu: Math.min(...of.map(({ cpu }) => cpu)),
    peak: Math.max(...of.map(({ peak }) => peak)),
  })
  return [least(runs.map(([mine]) => mine)), peer && least(runs.map(([, other]) => other as Usage))]
}

/** The files that a library and lowbit quantize from: the folder of the model, and the tokens. */
async function inputs(): Promise<[folder: string, ids: string]> {
  const random = new Random(1)
  const data = Array.from({ length: samples }, () =>
    Array.from({ length }, () => Math.floor(random.uniform() * 40000)),
  )
  const ids = join(temporary, 'ids.json')
  writeFileSync(ids, JSON.stringify(data))
  return [await floatModel(layers), ids]
}

const tokens = `${samples} × ${length} tokens`
const model = layers === 30 ? 'SmolLM2-135M' : `${layers} layers of SmolLM2-135M`
/** One of the algorithms that see data, beside its library. */
const beside = (name: 'gptq' | 'awq') => async () => {
  const files = await inputs()
  return turns(name, peers[name], [name, ...files], files)
}
const works: Record<string, { what: string; run: () => Promise<[Usage, Usage | null]> }> = {
  gptq: { what: `GPTQ, ${model}, ${tokens}`, run: beside('gptq') },
  spilled: {
    what: `the same, hidden states in a file`,
    run: async () => turns('gptq', null, ['gptq', ...(await inputs()), '0'], []),
  },
  awq: { what: `AWQ, ${model}, ${tokens}`, run: beside('awq') },
  hqq: {
    what: 'HQQ, 4096 × 4096',
    run: () => turns('hqq', peers.hqq, ['hqq', '4096', '9'], ['4096', '2']),
  },
}

const results = join(here, 'results/algorithms.json')
try {
  for (const name of positionals.length > 0 ? positionals : Object.keys(works)) {
    if (!(name in works))
      throw new Error(`bench:algorithms: takes ${Object.keys(works).join(', ')}; received ${name}`)
    const { what, run } = works[name]
    const [mine, other] = await run()
    const digits = (seconds: number) => seconds.toFixed(seconds < 1 ? 3 : seconds < 100 ? 1 : 0)
    const pair = ({ seconds, cpu }: Usage) => `${digits(seconds)} (${digits(cpu)})`
    const megabytes = (of: Usage) => `${Math.round(of.peak / 1e6)} MB`
    const row = {
      '': what,
      'lowbit, s (of CPU)': pair(mine),
      memory: megabytes(mine),
      beside: other ? peers[name].name : '',
      's (of CPU)': other ? pair(other) : '',
      'its memory': other ? megabytes(other) : '',
      'ratio (of CPU)': other
        ? `${(mine.seconds / other.seconds).toPrecision(2)} (${(mine.cpu / other.cpu).toPrecision(2)})`
        : '',
    }
    console.table([row])
    if (values.record) record(row)
  }
} finally {
  rmSync(temporary, { recursive: true })
}

/** Puts a row into the place of the one that says the same of itself. */
function record(row: Record<string, string>): void {
  const recorded = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')) : { runs: [] }
  const place = recorded.runs.findIndex((one: Record<string, string>) => one[''] === row[''])
  recorded.runs.splice(place < 0 ? recorded.runs.length : place, place < 0 ? 0 : 1, row)
  recorded.machine = [{ processor: cpus()[0].model, cores: cpus().length, threads: 2, node: process.version }]
  writeFileSync(results, `${JSON.stringify(recorded, null, 2)}\n`)
}
