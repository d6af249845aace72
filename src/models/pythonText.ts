/*
 * What Python writes for a value, as chat templates expect it: `True`, `None`, `['a', 1]`, `'%s' % x`.
 */

/** A value of a running template: those of `@huggingface/jinja`. */
export interface TemplateValue {
  readonly type: string
  readonly value: unknown
}

/** str(value); of what is undefined, nothing. */
export function str({ type, value }: TemplateValue): string {
  if (type === 'StringValue') return String(value)
  return type === 'UndefinedValue' ? '' : repr({ type, value })
}

/** repr(value) */
export function repr({ type, value }: TemplateValue): string {
  if (type === 'StringValue') return quoted(String(value))
  if (type === 'BooleanValue') return value ? 'True' : 'False'
  if (type === 'NullValue') return 'None'
  if (type === 'FloatValue') return float(Number(value))
  if (type === 'UndefinedValue') return 'Undefined'
  const items = listItems({ type, value })?.map(repr)
  if (type === 'TupleValue' && items) return `(${items.join(', ')}${items.length === 1 ? ',' : ''})`
  if (items) return `[${items.join(', ')}]`
  if (!(value instanceof Map)) return String(value)
  return `{${[...(value as Map<string, TemplateValue>)].map(([key, item]) => `${quoted(key)}: ${repr(item)}`).join(', ')}}`
}

/** The items of a list or tuple. */
export function listItems({ value }: TemplateValue): TemplateValue[] | undefined {
  return Array.isArray(value) ? value : undefined
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const escapes: Record<string, string> = {
    '\n': '\\n',
    '\r': '\\r',
    '\t': '\\t',
    '\\': '\\\\',
    [quote]: `\\${quote}`,
  }
  const escaped = text.replace(/[\p{C}\\'"]/gu, (character) => {
    if (character === '"' || character === "'") return character === quote ? escapes[quote] : character
    const code = character.codePointAt(0) ?? 0
    const hex = code.toString(16)
    if (character in escapes) return escapes[character]
    if (code < 0x100) return `\\x${hex.padStart(2, '0')}`
    return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`
  })
  return quote + escaped + quote
}

/** The shortest digits that give the number again, with a point or an exponent of two digits. */
function float(value: number): string {
  const size = Math.abs(value)
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf'
  if (size !== 0 && (size >= 1e16 || size < 1e-4))
    return value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2')
  return Number.isInteger(value) ? (Object.is(value, -0) ? '-0.0' : value.toFixed(1)) : String(value)
}

/** Wider than any template writes. */
const maxWidth = 1000

/**
 * format % values, with the conversions %s, %r, %d, %i, %f and %x.
 * @throws Error if a conversion is another, or does not fit its value
 */
export function percentFormat(format: string, values: TemplateValue): string {
  const list = values.type === 'TupleValue' ? (listItems(values) ?? []) : [values]
  let next = 0
  const text = format.replace(
    /%(?:\((\w+)\))?([-0+ ]*)(\d*)(?:\.(\d+))?(.)/g,
    (_, key, flags, width, digits, conversion) => {
      if (conversion === '%') return '%'
      const value = key === undefined ? list[next++] : (values.value as Map<string, TemplateValue>).get?.(key)
      if (Number(width) > maxWidth) throw new Error(`"${format}" % … must be at most ${maxWidth} wide`)
      if (!value) throw new Error(`"${format}" % … has too few values`)
      const converted = convert(value, conversion, digits === undefined ? undefined : Number(digits), flags)
      if (flags.includes('-')) return converted.padEnd(Number(width))
      const zeros = flags.includes('0') && conversion !== 's' && conversion !== 'r'
      const sign = zeros && /^[-+ ]/.test(converted) ? converted[0] : ''
      return zeros
        ? sign + converted.slice(sign.length).padStart(Number(width) - sign.length, '0')
        : converted.padStart(Number(width))
    },
  )
  if (next < list.length && values.type !== 'ObjectValue')
    throw new Error(`"${format}" % … has too many values`)
  return text
}

function convert(
  value: TemplateValue,
  conversion: string,
  digits: number | undefined,
  flags: string,
): string {
  if (conversion === 's' || conversion === 'r')
    return (conversion === 's' ? str(value) : repr(value)).slice(0, digits)
  const number = Number(value.value)
  if (!['IntegerValue', 'FloatValue', 'BooleanValue'].includes(value.type))
    throw new Error(`%${conversion} must have a number`)
  const sign = number >= 0 && flags.includes('+') ? '+' : number >= 0 && flags.includes(' ') ? ' ' : ''
  if (conversion === 'd' || conversion === 'i') return sign + Math.trunc(number)
  if (conversion === 'f') return sign + number.toFixed(digits ?? 6)
  if (conversion === 'x') return sign + number.toString(16)
  throw new Error(`%${conversion} is not supported`)
}

/** a == b, as Python compares: text never equals a number, lists and dicts by what they hold. */
export function equal(a: TemplateValue, b: TemplateValue): boolean {
  const [kind, other] = [kindOf(a), kindOf(b)]
  if (kind !== other) return false
  if (kind === 'number') return Number(a.value) === Number(b.value)
  const [left, right] = [listItems(a), listItems(b)]
  if (left && right) return left.length === right.length && left.every((item, i) => equal(item, right[i]))
  if (!(a.value instanceof Map && b.value instanceof Map)) return a.value === b.value
  const others: Map<string, TemplateValue> = b.value
  return (
    a.value.size === others.size &&
    [...(a.value as Map<string, TemplateValue>)].every(([key, item]) => {
      const found = others.get(key)
      return found !== undefined && equal(item, found)
    })
  )
}

function kindOf({ type }: TemplateValue): string {
  return ['IntegerValue', 'FloatValue', 'BooleanValue'].includes(type) ? 'number' : type
}
