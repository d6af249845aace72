// npm run bench:kernels: GB/s and GOP/s of every kernel that states its work, on every device of this
// machine.
//
//   LOWBIT_DEVICES=avx512,relaxed   only these devices
//   LOWBIT_KERNELS=qmatmulInt8      only these kernels
//   LOWBIT_CASES=M=1,M=512          only cases whose name holds one of these
//   LOWBIT_THREADS=2                threads of the native devices, 1 if not given
import { Random } from '../src/core/random.ts'
import type { Backend } from '../src/devices/backend.ts'
import { nativeIsas, openNative } from '../src/devices/cpu/native.ts'
import { openWasm } from '../src/devices/cpu/wasm.ts'
import type { KernelArg, KernelCase } from '../src/kernels/case.ts'
import { benchmarks } from '../src/kernels/cases.ts'
import { type KernelName, signatures } from '../src/kernels/signatures.ts'

const listed = (name: string) => process.env[name]?.split(',')
const chosen = (name: string, list: string) => listed(list)?.includes(name) ?? true
const threads = Number(process.env.LOWBIT_THREADS ?? 1)

/**
 * More than the last-level cache: inputs are copied until they fill it, so that each call reads them from
 * memory, as a model does.
 */
const workingSetBytes = 96e6
/**
 * Each case runs at least so often and so long; the least time counts, for whatever else the machine does
 * only adds to it.
 */
const leastRuns = 5
const leastMs = 300

const openers: Record<string, () => Backend> = {
  ...Object.fromEntries(nativeIsas().map((isa) => [isa, () => openNative({ isa, threads })])),
  simd128: () => openWasm({ variant: 'simd128', threads }),
  relaxed: () => openWasm({ variant: 'relaxed', threads }),
}

/** A command list that calls the kernel once for each copy of its arrays, and what frees them. */
function prepare(device: Backend, kernel: KernelName, args: readonly KernelArg[], copies: number) {
  const blocks: { address: number; bytes: number }[] = []
  const list: number[] = []
  for (let copy = 0; copy < copies; copy++) {
    list.push(signatures[kernel].id)
    for (const arg of args) {
      if (arg === null || typeof arg === 'number') {
        list.push(arg ?? 0)
        continue
      }
      const address = device.allocate(arg.byteLength)
      // A copy each time: what is written is given away.
      device.write(address, new Uint8Array(arg.buffer, arg.byteOffset, arg.byteLength).slice())
      blocks.push({ address, bytes: arg.byteLength })
      list.push(address)
    }
  }
  return {
    list: Float64Array.from(list),
    address: blocks[0].address,
    free: () => {
      for (const { address, bytes } of blocks) device.free(address, bytes)
    },
  }
}

/** The least seconds of one call. */
async function measure(
  device: Backend,
  kernel: KernelName,
  { args: makeArgs, work }: KernelCase,
): Promise<number> {
  const args = makeArgs(new Random(1))
  // What is bound by arithmetic needs no copies.
  const bound = !work || work.operations > 100 * work.bytes ? 1 : Math.ceil(workingSetBytes / work.bytes)
  const { list, address, free } = prepare(device, kernel, args, Math.min(bound, 500))
  const calls = Math.min(bound, 500)
  const done = new Uint8Array(1)
  let least = Infinity
  const begun = performance.now()
  for (let run = 0; run <= leastRuns || performance.now() - begun < leastMs; run++) {
    const started = performance.now()
    // A copy, for the list, too, is given away.
    device.run(list.slice())
    await device.read(address, done)
    if (run > 0) least = Math.min(least, (performance.now() - started) / 1000)
  }
  free()
  return least / calls
}

const names = Object.keys(openers).filter((name) => chosen(name, 'LOWBIT_DEVICES'))
console.log(`GB/s | GOP/s, ${threads} thread${threads === 1 ? '' : 's'} native, 1 WebAssembly`)
console.log(`${''.padEnd(66)}${names.map((name) => name.padStart(16)).join('')}`)
const devices = names.map((name) => openers[name]())
for (const kernel of (Object.keys(benchmarks) as KernelName[]).filter((name) =>
  chosen(name, 'LOWBIT_KERNELS'),
)) {
  for (const one of benchmarks[kernel] ?? []) {
    if (!one.work || !(listed('LOWBIT_CASES')?.some((part) => `${one.name} `.includes(`${part} `)) ?? true))
      continue
    const { bytes, operations } = one.work
    const cells: string[] = []
    for (const device of devices) {
      const seconds = await measure(device, kernel, one)
      cells.push(
        `${(bytes / seconds / 1e9).toFixed(1)} | ${(operations / seconds / 1e9).toFixed(0)}`.padStart(16),
      )
    }
    console.log(`${`${kernel} ${one.name}`.padEnd(66)}${cells.join('')}`)
  }
}
await Promise.all(devices.map((device) => device.close()))
