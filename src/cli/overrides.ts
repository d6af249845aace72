import { readFile } from 'node:fs/promises'
import { FormatError } from '../core/errors.ts'
import { isObject } from '../core/kinds.ts'
import { parseJson } from '../formats/json.ts'
import { checkOverrides, type LayerOverride, type LayerOverrides } from '../quantize/overrides.ts'
import { type WeightsType, weightsType } from './arguments.ts'

/**
 * What `--override` says, of all that were given: `PATTERN=TYPE[:GROUP]`, or JSON files with what `quantize`
 * takes as `overrides`.
 * @throws FormatError or ShapeError if one cannot be read
 */
export async function readOverrides(given: readonly string[] = []): Promise<LayerOverrides | undefined> {
  if (given.length === 0) return undefined
  const overrides: Record<string, LayerOverride | null> = {}
  for (const text of given)
    for (const [pattern, override] of text.endsWith('.json') ? await fromFile(text) : [fromText(text)])
      if (!(pattern in overrides)) overrides[pattern] = override
  checkOverrides('quantize', overrides)
  return overrides
}

/** What a layer becomes: of integers the bits, so that zero points are as the others have them. */
export function overrideOf(type: WeightsType): LayerOverride {
  if (typeof type === 'string') return { type }
  return type.values === 'signed' || type.values === 'unsigned' ? { bits: type.bits } : { weights: type.name }
}

async function fromFile(path: string): Promise<[string, LayerOverride | null][]> {
  const bytes = await readFile(path).catch(() => {
    throw new FormatError(`quantize: --override ${path} must be a file that can be read; it is not there`)
  })
  const json = parseJson(bytes, path)
  if (isObject(json)) return Object.entries(json as LayerOverrides)
  throw new FormatError(`${path}: it must be an object with options by glob or re: pattern`)
}

function fromText(text: string): [string, LayerOverride | null] {
  const [, pattern, name, size] = /^(.+)=([^=:]+)(?::(\d+|row))?$/.exec(text) ?? []
  if (pattern === undefined)
    throw new FormatError(
      `quantize: --override must be PATTERN=TYPE, PATTERN=TYPE:GROUP, or a .json file; received ${text}`,
    )
  if (name === 'float') return [pattern, null]
  const groupSize = size === undefined ? {} : { groupSize: size === 'row' ? null : Number(size) }
  return [pattern, { ...overrideOf(typeOf(name, text)), ...groupSize }]
}

function typeOf(name: string, text: string): WeightsType {
  try {
    return weightsType(name)
  } catch (error) {
    const { message } = error as Error
    const must = message.replace(/^It must be /, 'float, ').replace(/\.$/, '')
    throw new FormatError(`quantize: the type of --override must be ${must}; received ${text}`)
  }
}
