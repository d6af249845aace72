import type { LoadPlan, PlannedParameter } from '../checkpoints/plan.ts'
import { FormatError } from '../core/errors.ts'
import { aFunction, aSignal, check } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { sameShape, showShape } from '../core/shape.ts'
import { aDevice, type Device } from '../devices/device.ts'
import { temporaryDevice } from '../devices/open.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { relativeDistance } from '../qtensor/relativeDistance.ts'
import { cast } from '../tensor/ops/index.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { CausalLM } from './causalLM.ts'
import { aModelPlace, inOrder, loadParameter, type ModelPlace, planCausalLM } from './load.ts'
import { type Finding, weightFindings } from './weightFindings.ts'

export type { Finding } from './weightFindings.ts'

/** How a model is verified. */
export interface VerifyOptions {
  /** The float model, for the error of each tensor. */
  against?: ModelPlace
  /** Where values are looked at; default: `openDevice('cpu')` where it is open, else one that is closed again. */
  device?: Device
  signal?: AbortSignal
  /** Called with the bytes read so far, and all. */
  onProgress?: (bytes: number, totalBytes: number) => void
}

const optionKinds: OptionKinds<VerifyOptions> = {
  against: aModelPlace,
  device: aDevice,
  signal: aSignal,
  onProgress: aFunction,
}

/** What a model is like, value by value. */
export interface Verification {
  /** The scheme of its quantized weights, `none` for floats; null where it cannot be opened. */
  readonly scheme: string | null
  /** How many tensors were looked at, and their bytes. */
  readonly tensors: number
  readonly bytes: number
  readonly findings: readonly Finding[]
  /** ‖W − Ŵ‖₂ / ‖W‖₂ of each tensor beside that of `against`, by path. */
  readonly errors: ReadonlyMap<string, number>
  /** Whether nothing unsound was found. */
  readonly sound: boolean
}

/**
 * Reads all of a model, tensor by tensor, and says what is not as it should be: tensors that are missing, of
 * other shapes or no part of it, numbers that are not finite, scales of 0, zero points out of range, weights
 * that are stored twice. Nothing of it is thrown.
 */
export async function verify(place: ModelPlace, options: VerifyOptions = {}): Promise<Verification> {
  check('verify', 'place', place, aModelPlace)
  checkOptions('verify', options, optionKinds)
  const { against, onProgress } = options
  const findings: Finding[] = []
  const errors = new Map<string, number>()
  const plan = await opened(place, findings)
  let original: LoadPlan<CausalLM> | null = null
  const { device, close } = temporaryDevice(options.device)
  try {
    if (plan && against !== undefined) original = await planCausalLM(against)
    for (const finding of plan?.warnings ?? []) findings.push({ tensor: null, unsound: false, finding })
    if (plan) findings.push(...storedTwice(plan), ...(await uncalibrated(plan)))
    const parameters = plan?.parameters ?? []
    const total = parameters.reduce((sum, { byteLength }) => sum + byteLength, 0)
    let done = 0
    const look = async (planned: PlannedParameter) => {
      options.signal?.throwIfAborted()
      findings.push(...(await lookAt(planned, device)))
      if (plan && original) await compare(plan, original, planned, { device, errors, findings })
      return null
    }
    for await (const [{ byteLength }] of inOrder(parameters, look, 2)) {
      done += byteLength
      onProgress?.(done, total)
    }
    const sound = findings.every(({ unsound }) => !unsound)
    const scheme = plan?.scheme ?? null
    return { scheme, tensors: parameters.length, bytes: total, findings, errors, sound }
  } finally {
    await plan?.close()
    await original?.close()
    await close()
  }
}

/** The plan of a model; null, and a finding, where it is not of the form that it must have. */
async function opened(place: ModelPlace, findings: Finding[]): Promise<LoadPlan<CausalLM> | null> {
  try {
    return await planCausalLM(place)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    findings.push({ tensor: null, unsound: true, finding: error.message })
    return null
  }
}

/** Weights of several layers that the file holds more than once. */
function storedTwice({ parameters, file }: LoadPlan): Finding[] {
  return parameters.flatMap(({ path, paths }): Finding[] => {
    const stored = paths.filter((each) => file.tensors.has(each))
    if (stored.length < 2) return []
    return [
      {
        tensor: path,
        unsound: false,
        finding: `it is stored ${stored.length} times, as ${stored.join(' and ')}; one is read`,
      },
    ]
  })
}

/** Activations whose scales were never chosen. */
async function uncalibrated(plan: LoadPlan): Promise<Finding[]> {
  const scales = await plan.scales()
  return scales.flatMap(({ path, module, input_scale, output_scale }): Finding[] => {
    const used = [module.inputQuantized ? input_scale : 0, module.outputQuantized ? output_scale : 0]
    return used.includes(1)
      ? [
          {
            tensor: path,
            unsound: false,
            finding: 'its activations have no scale, and are taken as they are',
          },
        ]
      : []
  })
}

/** Reads one tensor. */
async function lookAt(planned: PlannedParameter, device: Device): Promise<Finding[]> {
  const { path: tensor } = planned
  try {
    const parameter = await planned.load(device)
    try {
      return parameter instanceof QTensor ? await weightFindings(tensor, parameter) : []
    } finally {
      parameter.dispose()
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    return [{ tensor, unsound: true, finding: error.message }]
  }
}

/** Adds the error of one tensor. */
async function compare(
  plan: LoadPlan<CausalLM>,
  original: LoadPlan<CausalLM>,
  planned: PlannedParameter,
  { device, errors, findings }: { device: Device; errors: Map<string, number>; findings: Finding[] },
): Promise<void> {
  const { path: tensor, paths } = planned
  const like = original.parameters.find((each) => each.paths.some((path) => paths.includes(path)))
  if (!like) {
    findings.push({ tensor, unsound: true, finding: 'the model that it is compared with has no such tensor' })
    return
  }
  const floats: Tensor[] = []
  try {
    for (const [from, each] of [
      [original, like],
      [plan, planned],
    ] as const)
      floats.push((await loadParameter(from, each, device, undefined, true)) as Tensor)
    const [theirs, ours] = floats
    if (sameShape(theirs.shape, ours.shape))
      errors.set(tensor, await relativeDistance(() => [theirs, cast(ours, theirs.dtype)]))
    else
      findings.push({
        tensor,
        unsound: true,
        finding: `it must be ${showShape(theirs.shape)}, as that which it is compared with; it is ${showShape(ours.shape)}`,
      })
  } catch (error) {
    // What is no number was found before.
    if (!(error instanceof FormatError)) throw error
  } finally {
    for (const float of floats) float.dispose()
  }
}
