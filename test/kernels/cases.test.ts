import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { type DType, dtypes, type HostArray } from '../../src/core/dtype.ts'
import { decodeFloat, dtypeOfCode } from '../../src/core/halves.ts'
import { Random } from '../../src/core/random.ts'
import type { Backend } from '../../src/devices/backend.ts'
import { nativeIsas, openNative } from '../../src/devices/cpu/native.ts'
import { openWasm } from '../../src/devices/cpu/wasm.ts'
import type { KernelArg, KernelCase } from '../../src/kernels/case.ts'
import { cases } from '../../src/kernels/cases.ts'
import { definitions } from '../../src/kernels/definitions.ts'
import type { ArrayArgument, ScalarArgument } from '../../src/kernels/signature.ts'
import { type KernelName, signatures } from '../../src/kernels/signatures.ts'

/*
 * Every kernel, every case, on every device, against its definition.
 *
 *   LOWBIT_DEVICES=avx2,relaxed     only these devices, while developing
 *   LOWBIT_KERNELS=softmax,reduce   only these kernels
 *   LOWBIT_NATIVE=absent            allows that no C++ compiler made the addon
 */

type Argument = ArrayArgument | ScalarArgument
type Call = (...args: KernelArg[]) => void

const guardBytes = 64
const guard = 0xa5

const listed = (name: string) => process.env[name]?.split(',')
const kernels = (Object.keys(signatures) as KernelName[]).filter(
  (name) => listed('LOWBIT_KERNELS')?.includes(name) ?? true,
)

/**
 * Opens every device that this machine must have; the instruction sets are those that the addon finds in the
 * CPU.
 */
function openDevices(): Record<string, Backend> {
  const isas = nativeIsas()
  if (isas.length === 0) {
    const allowed = process.env.LOWBIT_NATIVE === 'absent'
    assert.ok(
      allowed,
      'no native device: build the addon with a C++ compiler, or allow it with LOWBIT_NATIVE=absent',
    )
    console.log('native: absent, because the addon was not built (no C++ compiler)')
  }
  const openers: Record<string, () => Backend> = {
    ...Object.fromEntries(isas.map((isa) => [isa, () => openNative({ isa })])),
    simd128: () => openWasm({ variant: 'simd128', threads: 1 }),
    'simd128-threads': () => openWasm({ variant: 'simd128', threads: 2 }),
    relaxed: () => openWasm({ variant: 'relaxed', threads: 1 }),
    'relaxed-threads': () => openWasm({ variant: 'relaxed', threads: 2 }),
  }
  // `native` and `wasm` stand for all of their kind.
  const kinds: Record<string, string[]> = {
    native: isas,
    wasm: Object.keys(openers).filter((name) => !isas.includes(name)),
  }
  const names = listed('LOWBIT_DEVICES')?.flatMap((name) => kinds[name] ?? [name]) ?? Object.keys(openers)
  return Object.fromEntries(
    names.map((name) => {
      assert.ok(openers[name], `no device ${name}: there are ${Object.keys(openers).join(', ')}`)
      return [name, openers[name]()]
    }),
  )
}

const bytesOf = (array: HostArray) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

/** A copy of the arguments with the outputs filled with bytes that no kernel would write. */
function fresh(kernel: KernelName, args: readonly KernelArg[]): KernelArg[] {
  return args.map((arg, i) => {
    if (arg === null || typeof arg === 'number') return arg
    const copy = arg.slice()
    if (signatures[kernel].args[i].direction === 'out') bytesOf(copy).fill(guard)
    return copy
  })
}

function define(kernel: KernelName, args: KernelArg[]): KernelArg[] {
  ;(definitions[kernel] as unknown as Call)(...args)
  return args
}

/** Runs the kernel on a device and gives the arguments back, arrays as the device left them. */
async function runOn(device: Backend, kernel: KernelName, args: readonly KernelArg[]): Promise<KernelArg[]> {
  const list = [signatures[kernel].id as number]
  const blocks = args.map((arg) => {
    if (arg === null || typeof arg === 'number') {
      list.push(arg ?? 0)
      return null
    }
    const bytes = new Uint8Array(guardBytes + arg.byteLength + guardBytes).fill(guard)
    bytes.set(bytesOf(arg), guardBytes)
    const address = device.allocate(bytes.length)
    device.write(address, bytes)
    list.push(address + guardBytes)
    return { address, bytes }
  })
  device.run(Float64Array.from(list))
  const results: KernelArg[] = []
  for (const [i, block] of blocks.entries()) {
    const arg = args[i]
    if (!block || arg === null || typeof arg === 'number') {
      results.push(arg)
      continue
    }
    const { name, direction } = signatures[kernel].args[i] as ArrayArgument
    const bytes = new Uint8Array(block.bytes.length)
    await device.read(block.address, bytes)
    device.free(block.address, bytes.length)
    // Of an input every byte must stay, of an output those around it.
    if (direction !== 'in') block.bytes.set(bytes.subarray(guardBytes, -guardBytes), guardBytes)
    if (Buffer.compare(bytes, block.bytes) !== 0) {
      const changed = bytes.findIndex((byte, at) => byte !== block.bytes[at])
      assert.fail(
        `${name}: byte ${changed - guardBytes} of ${arg.byteLength} must not be written (${direction})`,
      )
    }
    const result = arg.slice()
    bytesOf(result).set(bytes.subarray(guardBytes, guardBytes + arg.byteLength))
    results.push(result)
  }
  return results
}

/** The dtype of array argument `index`. */
function dtypeOf(args: readonly KernelArg[], kernel: KernelName, index: number): DType {
  const signature: readonly Argument[] = signatures[kernel].args
  const { type } = signature[index] as ArrayArgument
  if (typeof type === 'string') return ({ f32: 'float32', i32: 'int32', u8: 'uint8' } as const)[type]
  return dtypeOfCode(args[signature.findIndex(({ name }) => name === type.dtype)] as number)
}

type Bound = ReturnType<KernelCase['tolerance']>

/** The bounds of a case, each computed once for all devices: it takes as long as the definition. */
function boundsOf({ tolerance }: KernelCase, args: readonly KernelArg[]): (output: number) => Bound {
  const known = new Map<number, Bound>()
  return (output) => {
    const bound = known.get(output) ?? tolerance(args, output)
    known.set(output, bound)
    return bound
  }
}

/**
 * The worst error of any output in units of its bound: 0 when equal, at most 1 when right. NaN and infinities
 * must be the same in both; where bits are compared any difference is infinitely wrong.
 */
function worst(
  kernel: KernelName,
  tolerance: (output: number) => Bound,
  args: KernelArg[],
  expected: KernelArg[],
  actual: KernelArg[],
) {
  let result = { ratio: 0, what: '' }
  signatures[kernel].args.forEach(({ name, direction }: Argument, output) => {
    const [want, got] = [expected[output], actual[output]]
    if (direction === 'in' || direction === 'scalar') return
    if (want === null || got === null || typeof want === 'number' || typeof got === 'number') return
    const bound = tolerance(output)
    const dtype = dtypeOf(args, kernel, output)
    const value = (bits: number) => (dtypes[dtype].floating ? decodeFloat(dtype, bits) : bits)
    for (let i = 0; i < want.length; i++) {
      if (Object.is(want[i], got[i])) continue
      const [a, b] = [value(want[i] as number), value(got[i] as number)]
      if (Object.is(a, b)) continue
      const limit = bound === 'exact' ? 0 : typeof bound === 'number' ? bound : bound[i]
      const error = Math.abs(a - b)
      const ratio =
        error === 0 && bound !== 'exact' ? 0 : Number.isFinite(error) && limit > 0 ? error / limit : Infinity
      if (ratio > result.ratio)
        result = { ratio, what: `${name}[${i}] is ${b}; expected ${a}, give or take ${limit}` }
    }
  })
  return result
}

const matrix: Record<string, Record<string, { cases: number; worst: number }>> = {}

describe('kernels', async () => {
  const devices = openDevices()
  after(async () => {
    await Promise.all(Object.values(devices).map((device) => device.close()))
    console.log(report(Object.keys(devices)))
  })

  for (const kernel of kernels) {
    test(kernel, async () => {
      matrix[kernel] = {}
      assert.ok(cases[kernel].length > 0, `${kernel} has no cases`)
      for (const [index, one] of cases[kernel].entries()) {
        const args = one.args(new Random(index + 1))
        assert.equal(args.length, signatures[kernel].args.length, `${one.name}: arguments`)
        const expected = define(kernel, fresh(kernel, args))
        const bounds = boundsOf(one, args)
        for (const [name, device] of Object.entries(devices)) {
          const actual = await runOn(device, kernel, fresh(kernel, args)).catch((error) => {
            throw new Error(`${kernel} ${one.name} on ${name}: ${error.message}`, { cause: error })
          })
          const { ratio, what } = worst(kernel, bounds, args, expected, actual)
          assert.ok(ratio <= 1, `${kernel} ${one.name} on ${name}: ${what}`)
          const before = matrix[kernel][name] ?? { cases: 0, worst: 0 }
          matrix[kernel][name] = { cases: before.cases + 1, worst: Math.max(before.worst, ratio) }
        }
        for (const [defect, plant] of Object.entries(one.defects ?? {})) {
          const planted = define(kernel, plant(fresh(kernel, args)))
          assert.ok(
            worst(kernel, bounds, args, expected, planted).ratio > 1,
            `${kernel} ${one.name}: the tolerance does not catch "${defect}"`,
          )
        }
      }
    })
  }
})

/** Kernel by device: number of cases, worst error in units of its bound. */
function report(devices: string[]): string {
  const cell = (text: string) => text.padStart(17)
  const row = (kernel: string) =>
    devices.map((device) => {
      const result = matrix[kernel]?.[device]
      return cell(
        result ? `${result.cases}  ${result.worst === 0 ? 'exact' : result.worst.toFixed(2)}` : 'failed',
      )
    })
  const head = `${'kernel'.padEnd(14)}${devices.map(cell).join('')}   (cases, worst error ÷ bound)`
  return [head, ...kernels.map((kernel) => `${kernel.padEnd(14)}${row(kernel).join('')}`)].join('\n')
}
