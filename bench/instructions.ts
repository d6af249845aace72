// node bench/instructions.ts [PART …] [--object build/lowbit.node] [--record]
//
// What the inner loops of kernels are made of, from the disassembly (objdump): of each function whose name
// has this part (by default the tiles and rows of integer products), the innermost loop with the most integer
// dot products. An integer dot product of 512 bits multiplies 64 weights with 64 values of x; of one row of x
// as many weights as products are read. --record puts the rows of AVX-512 into
// bench/results/instructions.json, from which scripts/readme.mjs makes the table of docs/kernels.md.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Row, text } from './peers/report.ts'

interface Instruction {
  address: number
  name: string
  operands: string
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    object: { type: 'string', default: 'build/lowbit.node' },
    record: { type: 'boolean', default: false },
  },
})
const parts = positionals.length > 0 ? positionals : ['int8Multiply<', 'int8Tile<', 'int8TileRow<']

/** Every function of the object: its name, and its instructions in order. */
function functions(object: string): Map<string, Instruction[]> {
  const listing = execFileSync('objdump', ['-d', '-C', '--no-show-raw-insn', object], {
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  })
  const found = new Map<string, Instruction[]>()
  let current: Instruction[] = []
  for (const line of listing.split('\n')) {
    const heading = /^[0-9a-f]+ <(.*)>:$/.exec(line)
    if (heading) {
      current = []
      found.set(heading[1], current)
    }
    const [, address, name, operands] = /^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$/.exec(line) ?? []
    if (address) current.push({ address: Number.parseInt(address, 16), name, operands })
  }
  return found
}

/** What lies between the target of a jump backwards and the jump, where there is no such jump in between. */
function innermostLoops(instructions: readonly Instruction[]): Instruction[][] {
  const loops = instructions.flatMap(({ address, name, operands }, last) => {
    const target = /^j/.test(name) ? Number.parseInt(operands, 16) : Number.NaN
    const first = target <= address ? instructions.findIndex((one) => one.address === target) : -1
    return first < 0 ? [] : [{ first, last }]
  })
  return loops
    .filter(
      (loop) =>
        !loops.some((other) => other !== loop && other.first >= loop.first && other.last <= loop.last),
    )
    .map(({ first, last }) => instructions.slice(first, last + 1))
}

const isDot = ({ name }: Instruction) => name.startsWith('vpdp')
const kinds: Record<string, (one: Instruction) => boolean> = {
  'dot products': isDot,
  'loads of vectors': ({ name, operands }) =>
    /^vmov|^vpbroadcast|^vpand|^vpsr|^vpdp/.test(name) && /\(/.test(operands),
  'shifts and masks': ({ name }) => /^vps[rl]|^vpand|^vpxor|^vpternlog/.test(name),
  prefetches: ({ name }) => name.startsWith('prefetch'),
}

const rows: Row[] = []
for (const [name, instructions] of functions(values.object)) {
  if (!name.includes('isa_avx512') || !parts.some((part) => name.includes(part))) continue
  const loops = innermostLoops(instructions).map((loop) => ({ loop, dots: loop.filter(isDot).length }))
  const most = loops.sort((a, b) => b.dots - a.dots)[0]
  if (!most?.dots) continue
  rows.push({
    function: shortened(name),
    instructions: String(most.loop.length),
    ...Object.fromEntries(
      Object.entries(kinds).map(([kind, is]) => [kind, String(most.loop.filter(is).length)]),
    ),
    'per dot product': (most.loop.length / most.dots).toFixed(2),
    'per weight and row of x': (most.loop.length / (64 * most.dots)).toFixed(3),
  })
}
console.log(text(rows))
if (values.record)
  writeFileSync(new URL('results/instructions.json', import.meta.url), `${JSON.stringify(rows, null, 2)}\n`)

/** The template whose name is asked for, with its parameters. */
function shortened(name: string): string {
  const plain = name.replace(/isa_\w+::/g, '')
  const at = Math.max(...parts.map((part) => plain.indexOf(part)))
  return /^[^()]*/.exec(plain.slice(at))?.[0] ?? plain
}
