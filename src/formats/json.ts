import { FormatError } from '../core/errors.ts'
import { decodeUtf8, type Folder, readBytes } from './source.ts'

/** Larger than any config, tokenizer or index in use. */
export const maxJsonBytes = 100_000_000
/** Deeper than any of them nests. */
export const maxJsonDepth = 64

export interface JsonOptions {
  maxBytes?: number
  maxDepth?: number
  /** Refuses an object that names a key twice; otherwise the last one counts, as in Python. */
  uniqueKeys?: boolean
}

/**
 * The value that `bytes` spell: RFC 8259 in strict UTF-8, without a byte order mark.
 * @throws FormatError if they are too many, nest too deep, repeat a key, or are no JSON.
 */
export function parseJson(bytes: Uint8Array, name: string, options: JsonOptions = {}): unknown {
  const { maxBytes = maxJsonBytes, maxDepth, uniqueKeys } = options
  if (bytes.byteLength > maxBytes)
    throw new FormatError(`${name}: must have at most ${maxBytes} bytes; it has ${bytes.byteLength}`)
  return parseJsonText(decodeUtf8(bytes, name), name, { maxDepth, uniqueKeys })
}

/**
 * The value that a text spells: RFC 8259.
 * @throws FormatError if it nests too deep, repeats a key, or is no JSON.
 */
export function parseJsonText(
  text: string,
  name: string,
  { maxDepth = maxJsonDepth, uniqueKeys = false }: Omit<JsonOptions, 'maxBytes'> = {},
): unknown {
  checkStructure(text, name, maxDepth, uniqueKeys)
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new FormatError(`${name}: must be JSON; ${(cause as Error).message.replace(/\s+/g, ' ')}`, {
      cause,
    })
  }
}

/**
 * Depth and repeated keys, which `JSON.parse` does not look at; text that is no JSON passes or fails here,
 * and fails there.
 */
function checkStructure(text: string, name: string, maxDepth: number, uniqueKeys: boolean): void {
  const keys: Set<string>[] = []
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '{' || character === '[') {
      if (++depth > maxDepth)
        throw new FormatError(
          `${name}: values must nest at most ${maxDepth} deep; they nest deeper at character ${at}`,
        )
      if (uniqueKeys) keys[depth] = new Set()
    } else if (character === '}' || character === ']') {
      depth--
    } else if (character === '"') {
      const start = at
      at = endOfString(text, at)
      const end = at + 1
      while (isSpace(text[at + 1])) at++
      // Only a key is followed by a colon.
      if (uniqueKeys && text[at + 1] === ':') checkKey(keys[depth], text.slice(start, end), name)
    }
  }
}

function isSpace(character: string | undefined): boolean {
  return character === ' ' || character === '\n' || character === '\r' || character === '\t'
}

function endOfString(text: string, start: number): number {
  // Searched for by the platform: strings are most of a large file.
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let before = at - 1
    while (text[before] === '\\') before--
    if ((at - before) % 2 === 1) return at
  }
  return text.length
}

function checkKey(seen: Set<string> | undefined, literal: string, name: string): void {
  let key = literal
  try {
    // "a" and "\u0061" are the same key.
    key = JSON.parse(literal)
  } catch {
    return
  }
  if (seen?.has(key)) throw new FormatError(`${name}: a key must appear once; ${show(key)} appears twice`)
  seen?.add(key)
}

/** `value` as JSON, cut to what fits in a message. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}

/** Keys come from files: one that is not a plain word is shown quoted, so that a message stays one line. */
function plainKey(key: string): string {
  return /^[\w.-]{1,80}$/.test(key) ? key : show(key)
}

/** A name from a file as messages print it: as it is when plain, else as JSON. */
export function showName(name: string): string {
  return /^[\w.-]{1,200}$/.test(name) ? name : show(name)
}

/** `value` as Python's `json.dumps(value, indent=indent)` writes it: ASCII only. */
export function pythonJson(value: unknown, indent: number): string {
  const ascii = JSON.stringify(value, null, indent).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return ascii.replace(/"\\u0000float ([^"]*)"/g, '$1')
}

/** A number that is a float for Python, which tells `6.0` from `6`. */
export class PythonFloat {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }

  /** What `pythonJson` takes the quotes off. */
  toJSON(): string {
    return `\0float ${pythonFloat(this.value)}`
  }
}

/** `value` as Python's `json.dumps(value)` writes it, on one line. */
export function pythonLine(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonLine).join(', ')}]`
  if (typeof value !== 'object' || value === null) return pythonJson(value, 0)
  const fields = Object.entries(value).map(([key, field]) => `${pythonJson(key, 0)}: ${pythonLine(field)}`)
  return `{${fields.join(', ')}}`
}

/** A number as Python writes a float: `1.0`, `0.0001`, `1e-05`. */
export function pythonFloat(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e16) return `${value}.0`
  const [digits, exponent] = value.toExponential().split('e')
  const power = Number(exponent)
  if (power >= -4 && power < 16) return String(value)
  return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`
}

/**
 * A JSON object whose fields are asked for by type. A field that is absent or null gives the fallback, where
 * there is one; errors name the document and the field: `config.json: hidden_size must be a positive integer;
 * received "64"`.
 */
export class JsonObject {
  readonly name: string
  private readonly prefix: string
  private readonly fields: Readonly<Record<string, unknown>>

  /** @throws FormatError if `value` is not an object. */
  constructor(value: unknown, name: string, path = '') {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new FormatError(`${name}: ${path || 'the document'} must be an object; received ${show(value)}`)
    }
    this.name = name
    this.prefix = path === '' ? '' : `${path}.`
    this.fields = value as Record<string, unknown>
  }

  /** What messages call it: `config.json: quantization_config`. */
  get where(): string {
    return this.prefix === '' ? this.name : `${this.name}: ${this.prefix.slice(0, -1)}`
  }

  keys(): string[] {
    return Object.keys(this.fields)
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  /** The field as it stands; undefined when absent or null. */
  get(key: string): unknown {
    return this.own(key) ?? undefined
  }

  string(key: string, fallback?: string): string {
    return this.expect(key, fallback, 'a string', (value) => typeof value === 'string')
  }

  boolean(key: string, fallback?: boolean): boolean {
    return this.expect(key, fallback, 'true or false', (value) => typeof value === 'boolean')
  }

  number(key: string, fallback?: number): number {
    return this.expect(key, fallback, 'a finite number', (value) => Number.isFinite(value))
  }

  positiveInteger(key: string, fallback?: number): number {
    return this.expect(
      key,
      fallback,
      'a positive integer',
      (value) => Number.isSafeInteger(value) && Number(value) > 0,
    )
  }

  /** An integer from 0 on. */
  count(key: string, fallback?: number): number {
    return this.expect(
      key,
      fallback,
      'an integer, 0 or more',
      (value) => Number.isSafeInteger(value) && Number(value) >= 0,
    )
  }

  counts(key: string, fallback?: number[]): number[] {
    const isCount = (value: unknown) => Number.isSafeInteger(value) && Number(value) >= 0
    return this.expect(
      key,
      fallback,
      'a list of integers, 0 or more',
      (value) => Array.isArray(value) && value.every(isCount),
    )
  }

  /** A list of numbers above 0. */
  positives(key: string): number[] {
    const isPositive = (value: unknown) => Number.isFinite(value) && Number(value) > 0
    return this.expect<number[]>(
      key,
      undefined,
      'a list of numbers above 0',
      (value) => Array.isArray(value) && value.every(isPositive),
    )
  }

  strings(key: string, fallback?: string[]): string[] {
    const isString = (value: unknown) => typeof value === 'string'
    return this.expect(
      key,
      fallback,
      'a list of strings',
      (value) => Array.isArray(value) && value.every(isString),
    )
  }

  /** This object with the fields of another in the place of its own, as Python's `dict.update` gives it. */
  with(other: JsonObject): JsonObject {
    return new JsonObject({ ...this.fields, ...other.fields }, this.name, this.prefix.slice(0, -1))
  }

  object(key: string): JsonObject {
    return new JsonObject(this.own(key), this.name, `${this.prefix}${plainKey(key)}`)
  }

  /** All fields as plain values, for a library that takes them so. */
  toObject(): Record<string, unknown> {
    return { ...this.fields }
  }

  /** The error for a field that breaks a rule of its own. */
  error(key: string, rule: string): FormatError {
    return new FormatError(
      `${this.name}: ${this.prefix}${plainKey(key)} ${rule}; received ${show(this.own(key))}`,
    )
  }

  private own(key: string): unknown {
    return Object.hasOwn(this.fields, key) ? this.fields[key] : undefined
  }

  private expect<T>(
    key: string,
    fallback: T | undefined,
    rule: string,
    holds: (value: unknown) => boolean,
  ): T {
    const value = this.get(key)
    if (value === undefined && fallback !== undefined) return fallback
    if (!holds(value)) throw this.error(key, `must be ${rule}`)
    return value as T
  }
}

/**
 * The object that a JSON file of `folder` holds.
 * @throws FormatError if it is absent, too large, or no JSON object.
 */
export async function readJson(folder: Folder, file: string, options: JsonOptions = {}): Promise<JsonObject> {
  const bytes = await readBytes(folder, file, options.maxBytes ?? maxJsonBytes)
  const name = `${folder.name}/${file}`
  return new JsonObject(parseJson(bytes, name, options), name)
}
