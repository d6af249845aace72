// node bench/instructions.ts [PART …] [--isa avx512|avx2] [--object build/lowbit.node]
//
// What the inner loops of kernels are made of, from the disassembly (objdump): of each function whose name
// has this part (by default the tiles and rows of integer products), the innermost loop that multiplies most.
// An integer dot product of 512 bits multiplies 64 weights with 64 values of x; of AVX2, `vpmaddubsw`
// multiplies 32 and `vpmaddwd`, where the other is not there, 16. Of one row of x as many weights as products
// are read.
import { execFileSync } from 'node:child_process'
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
    isa: { type: 'string' },
    object: { type: 'string', default: 'build/lowbit.node' },
  },
})
const parts =
  positionals.length > 0 ? positionals : ['int8Multiply<', 'int8Tile<', 'int8SplitRun<', 'int8TileRow<']

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

const listed = functions(values.object)
/** The widest that the object has, unless told. */
const isa =
  values.isa ??
  ['avx512', 'avx2'].find((set) => [...listed.keys()].some((name) => name.includes(`isa_${set}::`)))

const named = (loop: readonly Instruction[], pattern: RegExp) => loop.filter(({ name }) => pattern.test(name))

/** The instructions of a loop that multiply, and how many numbers each of them multiplies. */
function multiplications(loop: readonly Instruction[]): { count: number; each: number } {
  if (isa === 'avx512') return { count: named(loop, /^vpdp/).length, each: 64 }
  const bytes = named(loop, /^vpmaddubsw/).length
  return bytes > 0 ? { count: bytes, each: 32 } : { count: named(loop, /^vpmaddwd/).length, each: 16 }
}

const rows: Row[] = []
for (const [name, instructions] of listed) {
  if (!name.includes(`isa_${isa}::`) || !parts.some((part) => name.includes(part))) continue
  const loops = innermostLoops(instructions).map((loop) => ({ loop, ...multiplications(loop) }))
  const most = loops.sort((a, b) => b.count * b.each - a.count * a.each)[0]
  if (!most?.count) continue
  const { loop, count, each } = most
  rows.push({
    function: shortened(name),
    instructions: String(loop.length),
    multiplications: String(count),
    'loads of vectors': String(
      loop.filter(
        ({ name, operands }) =>
          /^vmov|^vpbroadcast|^vpand|^vpsr|^vpdp|^vpmadd/.test(name) && /\(/.test(operands),
      ).length,
    ),
    'shifts and masks': String(named(loop, /^vps[rl]|^vpand|^vpxor|^vpternlog/).length),
    prefetches: String(named(loop, /^prefetch/).length),
    'per multiplication': (loop.length / count).toFixed(2),
    'per weight and row of x': (loop.length / (each * count)).toFixed(3),
  })
}
console.log(text(rows))

/** The template whose name is asked for, with its parameters. */
function shortened(name: string): string {
  const plain = name.replace(/isa_\w+::/g, '')
  const at = Math.max(...parts.map((part) => plain.indexOf(part)))
  return /^[^()]*/.exec(plain.slice(at))?.[0] ?? plain
}
