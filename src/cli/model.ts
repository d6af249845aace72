import type { LoadPlan } from '../checkpoints/plan.ts'
import type { FloatDType } from '../core/dtype.ts'
import type { Device } from '../devices/device.ts'
import { type DeviceName, openDevice } from '../devices/open.ts'
import type { CacheType } from '../models/caches/index.ts'
import type { CausalLM } from '../models/causalLM.ts'
import { type LoadOptions, loadCausalLM, planCausalLM } from '../models/load.ts'
import type { ComputeDType } from '../qtensor/computeDtype.ts'
import { interrupted } from './interrupt.ts'
import { progressBar } from './output.ts'

/** The options that every command takes. */
export interface CommonOptions {
  device: DeviceName
  threads?: number
  dtype?: FloatDType
  json?: boolean
}

/** Of the commands that run a model. */
export interface ComputeOptions {
  computeDtype?: ComputeDType
  kv?: CacheType
  /** Whether products of the same input are computed as one. */
  fuse?: boolean
}

/** Runs `body` on the device that the options name, one for all models of a command, and closes it. */
export async function withDevice<T>(
  options: CommonOptions,
  body: (device: Device) => Promise<T>,
): Promise<T> {
  const device = openDevice(options.device, { threads: options.threads })
  try {
    return await body(device)
  } finally {
    await device.close()
  }
}

/** Reads all of a model but its weights, with a progress bar for what comes from the hub. */
export async function planModel(model: string, options: CommonOptions): Promise<LoadPlan<CausalLM>> {
  const download = await downloadBar(options)
  return planCausalLM(model, { signal: interrupted, onDownload: download.update }).finally(download.stop)
}

/** A bar for what comes from the hub. */
export async function downloadBar(options: CommonOptions) {
  const bar = await progressBar('download', options)
  return { update: (_: string, bytes: number, total: number) => bar.update(bytes, total), stop: bar.stop }
}

/** Loads a model as the common options say, with a progress bar. */
export async function loadModel(
  model: string,
  device: Device,
  options: CommonOptions & Pick<ComputeOptions, 'fuse'>,
  { dequantize, prepareTokenizer }: Pick<LoadOptions, 'dequantize' | 'prepareTokenizer'> = {},
): Promise<CausalLM> {
  const bar = await progressBar('load', options)
  const download = await downloadBar(options)
  const { dtype, fuse } = options
  return loadCausalLM(model, {
    device,
    dtype,
    doFuse: fuse,
    dequantize,
    prepareTokenizer,
    signal: interrupted,
    onDownload: download.update,
    onProgress(done, total) {
      download.stop()
      bar.update(done, total)
    },
  }).finally(() => {
    download.stop()
    bar.stop()
  })
}
