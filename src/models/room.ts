import { emptyWeight } from '../checkpoints/emptyWeight.ts'
import type { LoadPlan, PlannedParameter } from '../checkpoints/plan.ts'
import { type DType, dtypes, type FloatDType, isFloatDType } from '../core/dtype.ts'
import { DeviceError } from '../core/errors.ts'
import { numel } from '../core/shape.ts'
import type { Device } from '../devices/device.ts'
import { parentPath } from '../nn/module.ts'
import { QWeightModule } from '../nn/qmodule.ts'
import type { CausalLM } from './causalLM.ts'

/** What becomes of the parameters of a plan. */
export interface Becoming {
  /** What floats become; default: as saved. */
  dtype?: FloatDType
  /** Whether quantized weights are made floats. */
  floats: boolean
  /** Whether floats of the model's twins are made codes. */
  freezing: boolean
}

/**
 * Bytes that the parameters of a plan take in the end, in their order, and those of what they are made of.
 */
export function parameterSizes(
  { model, parameters }: LoadPlan<CausalLM>,
  becoming: Becoming,
): ParameterSize[] {
  return parameters.map((planned) => sizeOf(model, planned, becoming))
}

/**
 * @param disk the parameters that lie on disk in the end
 * @throws DeviceError if the weights alone cannot fit, before any is read.
 */
export function checkRoom(
  plan: LoadPlan<CausalLM>,
  device: Device,
  sizes: readonly ParameterSize[],
  disk: ReadonlySet<PlannedParameter>,
): void {
  const isHeld = plan.parameters.map((planned) => !disk.has(planned))
  const held = sizes.reduce((sum, size, i) => sum + (isHeld[i] ? size.held : 0), 0)
  const passing = sizes.reduce(
    (most, size, i) => Math.max(most, size.passing + (isHeld[i] ? 0 : size.held)),
    0,
  )
  const needed = held + passing
  const { availableBytes } = device
  if (needed <= availableBytes) return
  const numbers = `${Math.ceil(needed / 1e6)} MB; there are ${Math.floor(availableBytes / 1e6)} MB on ${device.name}`
  throw new DeviceError(
    `${plan.name}: the weights need ${numbers}, so take a smaller or more strongly quantized model, or keep layers on disk (maxMemory)`,
  )
}

/** Bytes that a parameter takes in the end, and those of what it is made of, which passes. */
interface ParameterSize {
  readonly held: number
  readonly passing: number
}

function sizeOf(
  model: CausalLM,
  { paths, shape, dtype, weight, byteLength }: PlannedParameter,
  becoming: Becoming,
): ParameterSize {
  if (weight && !becoming.floats) return { held: byteLength, passing: 0 }
  const float = isFloatDType(dtype) ? (becoming.dtype ?? dtype) : dtype
  const floatBytes = numel(shape) * dtypes[float].bytes
  const held = becoming.freezing ? frozenBytes(model, paths, float, floatBytes) : floatBytes
  const isMade = held !== floatBytes || floatBytes !== byteLength
  return { held, passing: isMade ? Math.max(floatBytes, byteLength) : 0 }
}

/**
 * Bytes of a float parameter once the twins that hold it are frozen: its codes, once for each way in which they
 * are quantized, and its floats where other layers hold it, too.
 * @param paths all under which the model holds it
 */
export function frozenBytes(
  model: CausalLM,
  paths: readonly string[],
  float: DType,
  floatBytes: number,
): number {
  const codes = new Map<string, number>()
  let isHeld = false
  for (const path of paths) {
    const twin = model.getModule(parentPath(path))
    if (twin instanceof QWeightModule && path.endsWith('.weight')) {
      const { qtype, groupSize } = twin.quantization
      codes.set(`${qtype.name} ${groupSize}`, emptyWeight(twin, float as FloatDType).byteLength)
    } else isHeld = true
  }
  return [...codes.values()].reduce((sum, bytes) => sum + bytes, isHeld ? floatBytes : 0)
}
