// node --conditions=lowbit-source bench/limits.ts [THREADS]: what this machine can do at most.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openDevice } from '../src/devices/open.ts'
import { reduce } from '../src/tensor/ops/index.ts'
import { scope } from '../src/tensor/scope.ts'
import { Tensor } from '../src/tensor/tensor.ts'
import { wasmInt8Gops } from './limitsWasm.ts'

/** The most that a number of threads reaches; 0 where it could not be measured. */
export interface Limits {
  threads: number
  /** Reading memory, 10⁹ bytes per second. */
  readGBs: number
  /**
   * int8 multiply and add (two operations), 10⁹ per second, with 128-bit registers, as WebAssembly has, and
   * with the widest ones: dot products of bytes, or where they are missing products added up in 16 bits.
   */
  int8Gops128: number
  int8Gops: number
  /** float32 multiply and add, likewise. */
  f32Gflops128: number
  f32Gflops: number
  /** bfloat16 multiply and add in float32, with the widest registers. */
  bf16Gflops: number
  /** int8 likewise, by the relaxed dot product of WebAssembly as this engine compiles it. */
  wasmInt8Gops: number
}

/**
 * The limits at one thread and at `threads`, from bench/limits.cc; without a compiler only how fast our
 * kernel reads.
 */
export async function measureLimits(threads: number): Promise<Limits[]> {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-limits-'))
  try {
    const program = join(folder, 'limits')
    if (compile(program)) {
      const limits = JSON.parse(execFileSync(program, [String(threads)], { encoding: 'utf8' })) as Limits[]
      for (const limit of limits) limit.wasmInt8Gops = await wasmInt8Gops(limit.threads)
      return limits
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const limits: Limits[] = []
  for (const count of new Set([1, threads])) {
    const readGBs = await kernelReadGBs(count)
    limits.push({
      threads: count,
      readGBs,
      int8Gops128: 0,
      int8Gops: 0,
      f32Gflops128: 0,
      f32Gflops: 0,
      bf16Gflops: 0,
      wasmInt8Gops: 0,
    })
  }
  return limits
}

/**
 * The larger of what two measurements found, number by number: others on the machine only ever take away from
 * a limit, and it is measured before and after what is compared with it.
 */
export function mostOf(before: Limits[], after: Limits[]): Limits[] {
  const most = (a: Limits, b: Limits) =>
    Object.fromEntries(
      (Object.keys(a) as (keyof Limits)[]).map((name) => [name, Math.max(a[name], b[name])]),
    ) as unknown as Limits
  return before.map((limits, index) => most(limits, after[index]))
}

function compile(program: string): boolean {
  const args = [
    '-std=c++17',
    '-O3',
    '-march=native',
    '-pthread',
    fileURLToPath(new URL('limits.cc', import.meta.url)),
    '-o',
    program,
  ]
  return [process.env.CXX, 'c++', 'g++', 'clang++'].some(
    (compiler) => compiler && spawnSync(compiler, args).status === 0,
  )
}

/**
 * How fast finding the largest of 512 MB reads: less than the machine could, more than any other kernel does.
 */
async function kernelReadGBs(threads: number): Promise<number> {
  const device = openDevice('cpu', { threads })
  const x = Tensor.empty(device, [4096, 2 ** 15])
  device.call('fill', { y: x, value: 1, count: x.byteLength / 4 })
  await device.sync()
  let best = 0
  for (let run = 0; run < 5; run++) {
    const started = performance.now()
    scope(() => reduce('max', x))
    await device.sync()
    best = Math.max(best, x.byteLength / (performance.now() - started) / 1e6)
  }
  await device.close()
  return best
}

if (import.meta.main)
  for (const limits of await measureLimits(Number(process.argv[2] ?? 2))) console.log(limits)
