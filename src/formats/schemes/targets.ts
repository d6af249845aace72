import type { FloatDType } from '../../core/dtype.ts'
import { FormatError } from '../../core/errors.ts'
import { nearest } from '../../core/nearest.ts'
import { type Container, containers, safetensorsFolder } from '../containers.ts'
import { schemes } from './index.ts'
import type { Scheme, SchemeWriter, Target } from './scheme.ts'

/** A scheme that models can be written in. */
export type WritingScheme = Scheme & { readonly writer: SchemeWriter }

/** The schemes that models can be written in. */
export function writingSchemes(): WritingScheme[] {
  return schemes.filter((scheme): scheme is WritingScheme => scheme.writer !== undefined)
}

/** Where a conversion leads. */
export interface ConversionTarget {
  /** What the tensors stand in. */
  readonly container: Container
  /** How weights are quantized that cannot go over as they are; null where all become floats. */
  readonly quantized: { readonly scheme: WritingScheme; readonly target: Target } | null
  /** What floats become; default: as saved. */
  readonly floats?: FloatDType
}

/** The targets of floats. */
function floatTargets(container: Container): [string, ConversionTarget][] {
  const { name, floats: dtypes } = container
  const others = Object.entries(dtypes).map(([key, floats]): [string, ConversionTarget] => {
    return [`${name}:${key}`, { container, quantized: null, floats }]
  })
  return [[name, { container, quantized: null }], ...others]
}

/** What `convert` can lead to, by name, in the order of the schemes. */
export function conversionTargets(): ReadonlyMap<string, ConversionTarget> {
  const quantized = writingSchemes().flatMap((scheme) =>
    Object.entries(scheme.writer.targets).map(([name, target]) => {
      const { container = safetensorsFolder } = scheme.writer
      return [name, { container, quantized: { scheme, target } }] as const
    }),
  )
  return new Map<string, ConversionTarget>([...quantized, ...containers.flatMap(floatTargets)])
}

/** The target of that name. @throws FormatError if there is none */
export function targetNamed(name: string): ConversionTarget {
  const targets = conversionTargets()
  const found = targets.get(name)
  if (found) return found
  const names = [...targets.keys()]
  const near = `the nearest to ${JSON.stringify(name)} are ${nearest(name, names).join(', ')}`
  throw new FormatError(
    `convert: the target must be a format that is written; ${near}; all are ${names.join(', ')}`,
  )
}
