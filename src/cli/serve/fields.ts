import { isObject } from '../../core/kinds.ts'
import { ApiError } from './apiError.ts'

/** The least and the most that a number may be. */
interface Range {
  min: number
  max: number
}

/** The fields of a request's JSON object, read by name; faults are answered in OpenAI's words. */
export class Fields {
  private readonly values: Readonly<Record<string, unknown>>
  private readonly read = new Set<string>()

  /** @throws ApiError unless `json` is an object */
  constructor(json: unknown) {
    if (!isObject(json))
      throw new ApiError(
        400,
        `Invalid type for the body: expected an object, but got ${typeOf(json)} instead.`,
        {
          code: 'invalid_type',
        },
      )
    this.values = json
  }

  /** The value of a field; null is as if it were left out. */
  get(name: string): unknown {
    this.read.add(name)
    return Object.hasOwn(this.values, name) ? (this.values[name] ?? undefined) : undefined
  }

  /** @throws ApiError if the field is left out */
  required(name: string): unknown {
    const value = this.get(name)
    if (value !== undefined) return value
    throw new ApiError(400, `Missing required parameter: '${name}'.`, {
      code: 'missing_required_parameter',
      param: name,
    })
  }

  boolean(name: string): boolean {
    const value = this.get(name)
    if (value === undefined || typeof value === 'boolean') return value ?? false
    throw invalidType(name, 'a boolean', value)
  }

  string(name: string): string | undefined {
    const value = this.get(name)
    if (value === undefined || typeof value === 'string') return value
    throw invalidType(name, 'a string', value)
  }

  decimal(name: string, range: Range): number | undefined {
    const value = this.get(name)
    if (value === undefined) return undefined
    if (typeof value !== 'number') throw invalidType(name, 'a decimal', value)
    return within(name, 'decimal', value, range)
  }

  integer(name: string, range: Range): number | undefined {
    const value = this.get(name)
    if (value === undefined) return undefined
    if (typeof value !== 'number' || !Number.isSafeInteger(value))
      throw invalidType(name, 'an integer', value)
    return within(name, 'integer', value, range)
  }

  object(name: string): Fields | undefined {
    const value = this.get(name)
    if (value === undefined) return undefined
    if (!isObject(value)) throw invalidType(name, 'an object', value)
    return new Fields(value)
  }

  /** Fields that change nothing here, whatever they say. */
  ignore(...names: string[]): void {
    for (const name of names) this.get(name)
  }

  /**
   * Refuses fields that ask for what is not done here, unless they say what holds anyway.
   * @throws ApiError if one has another value than those listed
   */
  unsupported(name: string, ...allowed: unknown[]): void {
    const value = this.get(name)
    if (value === undefined || allowed.some((other) => JSON.stringify(other) === JSON.stringify(value)))
      return
    throw new ApiError(400, `Unsupported parameter: '${name}' is not supported with this model.`, {
      code: 'unsupported_parameter',
      param: name,
    })
  }

  /** @throws ApiError if there is a field that was not read */
  end(): void {
    const unknown = Object.keys(this.values).find((name) => !this.read.has(name))
    if (unknown !== undefined)
      throw new ApiError(400, `Unrecognized request argument supplied: ${unknown}`, { param: unknown })
  }
}

function within(name: string, kind: string, value: number, { min, max }: Range): number {
  if (value >= min && value <= max) return value
  const [where, sign, limit] = value < min ? ['below min', '>=', min] : ['above max', '<=', max]
  throw new ApiError(
    400,
    `Invalid '${name}': ${kind} ${where}imum value. Expected a value ${sign} ${limit}, but got ${value} instead.`,
    { code: `${kind}_${where.replace(' ', '_')}_value`, param: name },
  )
}

export function invalidType(name: string, expected: string, value: unknown): ApiError {
  return new ApiError(
    400,
    `Invalid type for '${name}': expected ${expected}, but got ${typeOf(value)} instead.`,
    { code: 'invalid_type', param: name },
  )
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  if (value === null || value === undefined) return 'null'
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a decimal'
  return `a ${typeof value}`
}
