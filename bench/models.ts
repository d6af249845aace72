// npm run bench:models [-- --peer llama.cpp|openvino|wllama] [--gguf FILE | --shape qwen2-0.5b] [--threads 2]
// [--runs 7] [--json] [--record]
//
// lowbit beside llama.cpp (node-llama-cpp) on one model, each in processes of its own, in alternating rounds:
// speed, what the machine could do at most, memory, pauses. Beside OpenVINO, which reads such files, too, the
// speed alone; beside wllama, which is llama.cpp in WebAssembly and runs in Chromium, that of lowbit's
// WebAssembly. Without --gguf the model is SmolLM2-135M-Instruct, fetched when first needed; with --shape one
// of that shape with random weights, in Q4_0. --record writes bench/results/models*.json (shape*.json,
// openvino*.json, wllama*.json; models*-avx2.json on a machine of that instruction set) and remakes the
// tables of the documentation from them; then let the machine do nothing else.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { nativeAvailable } from '../src/devices/cpu/native.ts'
import { measureLimits, mostOf } from './limits.ts'
import { installPeer } from './peers/client.ts'
import { type Footprint, measureFootprint } from './peers/footprint.ts'
import { measureSpeed, workOf } from './peers/measure.ts'
import { type ModelPeerName, modelPeers } from './peers/modelPeers.ts'
import { footprintRows, limitRows, type Row, sameTokens, shortRows, speedRows, text } from './peers/report.ts'
import { resultsSuffix, writeResults } from './peers/results.ts'
import { measureStarts, passageOf, type Subject } from './peers/starts.ts'
import { shapeModel } from './shape.ts'

const { values } = parseArgs({
  options: {
    peer: { type: 'string', default: 'llama.cpp' },
    gguf: { type: 'string' },
    shape: { type: 'string' },
    threads: { type: 'string', default: '2' },
    runs: { type: 'string', default: '7' },
    json: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
  },
})
const [threads, runs] = [Number(values.threads), Number(values.runs)]
const log = (line: string) => process.stderr.write(line + '\n')

const fetchModel = fileURLToPath(new URL('../scripts/fetch-smollm2.mjs', import.meta.url))
if (values.shape !== undefined && values.shape !== 'qwen2-0.5b')
  throw new Error(`--shape: must be qwen2-0.5b; received ${values.shape}`)
const model =
  values.gguf ??
  (values.shape && (await shapeModel('q4_0.gguf'))) ??
  execFileSync(process.execPath, [fetchModel], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
const peerName = values.peer as ModelPeerName
const peer = modelPeers[peerName]
if (!peer)
  throw new Error(`--peer: must be one of ${Object.keys(modelPeers).join(', ')}; received ${peerName}`)
const [library] = peer.packages
const takesPart = model.endsWith('.gguf') && installPeer(peerName)
if (!takesPart) log(`${peerName}: left out; it needs a .gguf file, and ${library} installed in bench/peers`)
const busy = loadavg()[0]
if (busy > 0.5) log(`the machine is busy (load ${busy.toFixed(1)}): compare ratios only`)

const devices = peer.devices.filter((device) => device !== 'native' || nativeAvailable())
const work = await workOf(model)
const { maxPositions } = work
const before = await measureLimits(threads)
const story = readFileSync(new URL('../models/tinystories.txt', import.meta.url), 'utf8')
const { speeds, settings, promptIds } = await measureSpeed({
  model,
  devices,
  peer: takesPart ? peerName : undefined,
  threads,
  runs,
  text: story,
  maxPositions,
  log,
})

const limits = mostOf(before, await measureLimits(threads))

const setting = { threads, flashAttention: true }
const subjects = new Map<string, Subject>()
for (const device of peer.ownProcess ? devices : []) {
  // As it will be used: int8 where it is there.
  const computeDtype = speeds.some((speed) => speed.device === device && speed.name.endsWith('int8'))
    ? 'int8'
    : 'float32'
  subjects.set(`lowbit ${device}`, { model, device, threads, computeDtype })
}
if (takesPart && peer.ownProcess) subjects.set(peerName, model)
const [subject] = subjects.values()
const passage = subject ? await passageOf(subject, story) : ''
log('from the start to the first token')
const starts = await measureStarts(subjects, passage, setting)
const footprints = new Map<string, Footprint>()
for (const [name, subject] of subjects) {
  log(`memory and pauses: ${name}`)
  footprints.set(name, await measureFootprint(subject, promptIds, passage, maxPositions, setting))
}

const theirs = speeds.find(({ peer }) => peer)
const agreement: Row[] = speeds
  .filter((speed) => theirs && speed !== theirs)
  .map(({ name, tokenIds }) => ({
    lowbit: name,
    [`tokens as ${peerName}`]: `the first ${sameTokens(tokenIds, theirs?.tokenIds ?? [])} of ${tokenIds.length}`,
  }))
const machine: Row[] = [
  {
    date: new Date().toISOString().slice(0, 10),
    CPU: `${cpus().length} × ${cpus()[0].model}`,
    threads: String(threads),
    Node: process.version,
    lowbit: speeds.find(({ peer }) => !peer)?.version ?? '',
    [library]: theirs ? `${theirs.version} (${settings})` : '–',
    model: basename(model),
    rounds: String(runs),
    'load before': busy.toFixed(1),
  },
]
const rows = speedRows(speeds, work, limits)
const results = values.shape && peerName === 'llama.cpp' ? 'shape' : peer.results
const suffix = await resultsSuffix()
const tables: Record<string, Row[]> = {
  [results]: rows,
  [`${results}-machine`]: machine,
  ...(peer.ownProcess && {
    [`${results}-short`]: shortRows(rows),
    [`${results}-memory`]: footprintRows(footprints, starts, work.fileBytes),
    [`${results}-limits`]: limitRows(limits),
  }),
}

if (values.json)
  console.log(
    JSON.stringify({
      ...tables,
      agreement,
      work,
      limits,
      speeds,
      footprints: Object.fromEntries(footprints),
      starts: Object.fromEntries(starts),
    }),
  )
else console.log([...Object.values(tables), agreement].map(text).join('\n'))
if (values.record) {
  for (const [name, rows] of Object.entries(tables)) writeResults(name + suffix, rows)
  execFileSync(process.execPath, [fileURLToPath(new URL('../scripts/readme.mjs', import.meta.url))], {
    stdio: 'inherit',
  })
}
