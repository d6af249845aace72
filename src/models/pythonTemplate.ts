import { Template } from '@huggingface/jinja'
import { equal, listItems, percentFormat, str, type TemplateValue } from './pythonText.ts'

/*
 * Renders a Jinja template as Python does. The library has JavaScript's ideas of text (`true`, nothing for
 * None, JSON for lists), of % and of equality; so the parsed template is rewritten to call functions of ours
 * where those matter.
 */

/** A node of a parsed template. */
interface TemplateNode {
  type: string
  [part: string]: unknown
}

/** Source: jinja2, sandbox.py, `MAX_RANGE`. */
const maxRange = 100_000

/** The functions by names that no template can spell; each takes one list of values. */
const functions = {
  'as text': ([value]: TemplateValue[]) => str(value),
  '~': (values: TemplateValue[]) => values.map(str).join(''),
  '%': ([a, b]: TemplateValue[]) =>
    a.type === 'StringValue' ? percentFormat(String(a.value), b) : remainder(a, b),
  '==': ([a, b]: TemplateValue[]) => equal(a, b),
  '!=': ([a, b]: TemplateValue[]) => !equal(a, b),
  join: ([list, separator]: TemplateValue[]) => {
    const items = listItems(list)?.map(str) ?? [...str(list)]
    return items.join(separator ? str(separator) : '')
  },
  strip: ([text, characters]: TemplateValue[]) =>
    stripEnd(stripStart(str(text), str(characters)), str(characters)),
  lstrip: ([text, characters]: TemplateValue[]) => stripStart(str(text), str(characters)),
  rstrip: ([text, characters]: TemplateValue[]) => stripEnd(str(text), str(characters)),
  'limited range': (bounds: TemplateValue[]) => range(bounds.map(({ value }) => Number(value))),
  format: ([format, ...values]: TemplateValue[]) =>
    percentFormat(str(format), { type: 'TupleValue', value: values }),
}
type FunctionName = keyof typeof functions

/**
 * @param values what the template may name
 * @throws Error if the template is not one, or fails
 */
export function renderAsPython(source: string, values: Readonly<Record<string, unknown>>): string {
  const template = new Template(source)
  rewrite(template.parsed)
  return template.render({ ...values, ...functions })
}

/** The texts that a template itself holds: what it prints, and its strings. */
export function templateTexts(source: string): string[] {
  const texts: string[] = []
  const collect = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(collect)
    else if (node instanceof Map) collect([...node])
    else if (isNode(node)) {
      if (node.type === 'StringLiteral') texts.push(String(node.value))
      collect(Object.values(node))
    }
  }
  collect(new Template(source).parsed)
  return texts
}

/**
 * @throws Error if there are more than Python's sandbox allows: a template from anywhere should not fill the
 * memory
 */
function range(bounds: readonly number[]): number[] {
  const [start, stop, step = 1] = bounds.length === 1 ? [0, ...bounds] : bounds
  const count = Math.max(0, Math.ceil((stop - start) / step))
  if (!(count <= maxRange)) throw new Error(`range must have at most ${maxRange} numbers; it has ${count}`)
  return Array.from({ length: count }, (_, i) => start + i * step)
}

function stripStart(text: string, characters: string): string {
  let start = 0
  while (start < text.length && characters.includes(text[start])) start++
  return text.slice(start)
}

function stripEnd(text: string, characters: string): string {
  let end = text.length
  while (end > 0 && characters.includes(text[end - 1])) end--
  return text.slice(0, end)
}

/** Takes the sign of the divisor. */
function remainder(a: TemplateValue, b: TemplateValue): number {
  const [x, y] = [a, b].map(({ type, value }) => {
    if (type !== 'IntegerValue' && type !== 'FloatValue')
      throw new Error(`% must have two numbers, or text before it; received ${str({ type, value })}`)
    return Number(value)
  })
  return ((x % y) + y) % y
}

const statements = [
  'Set',
  'If',
  'For',
  'Macro',
  'CallStatement',
  'FilterStatement',
  'Break',
  'Continue',
  'Comment',
]

/** Rewrites a node and all in it, in place; returns what takes its place. */
function rewrite(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(rewrite)
  if (node instanceof Map) return new Map([...node].map(([key, value]) => [rewrite(key), rewrite(value)]))
  if (!isNode(node)) return node
  for (const [part, value] of Object.entries(node)) node[part] = rewrite(value)
  for (const part of ['body', 'alternate', 'defaultBlock']) {
    const block = node[part]
    if (Array.isArray(block))
      node[part] = block.map((child: TemplateNode) => (isOutput(child) ? call('as text', child) : child))
  }
  return rewritten(node)
}

function isNode(node: unknown): node is TemplateNode {
  return typeof node === 'object' && node !== null && 'type' in node
}

/** Whether a child of a block is an expression to be printed: neither a statement nor the text between. */
function isOutput({ type }: TemplateNode): boolean {
  return !statements.includes(type) && type !== 'StringLiteral'
}

/** An expression whose meaning differs, as a call. */
function rewritten(node: TemplateNode): TemplateNode {
  if (node.type === 'BinaryExpression') {
    const { value } = node.operator as { value: string }
    return Object.hasOwn(functions, value) ? call(value as FunctionName, node.left, node.right) : node
  }
  if (node.type === 'CallExpression') return rewrittenCall(node)
  if (node.type !== 'FilterExpression') return node
  const filter = node.filter as TemplateNode
  const { value: name } = (filter.callee ?? filter) as { value: string }
  const args = (filter.args ?? []) as TemplateNode[]
  if (name === 'string') return call('as text', node.operand)
  return (name === 'join' || name === 'format') && isPositional(args)
    ? call(name, node.operand, ...args)
    : node
}

/**
 * `range(…)` of a length that is allowed, and `text.strip(characters)`, of which the library drops the
 * characters.
 */
function rewrittenCall(node: TemplateNode): TemplateNode {
  const [callee, args] = [node.callee as TemplateNode, node.args as TemplateNode[]]
  if (callee.type === 'Identifier' && callee.value === 'range' && isPositional(args))
    return call('limited range', ...args)
  const { value: name } = (callee.property ?? {}) as { value?: string }
  const isStrip =
    callee.type === 'MemberExpression' &&
    !callee.computed &&
    (name === 'strip' || name === 'lstrip' || name === 'rstrip')
  return isStrip && args.length === 1 && isPositional(args) ? call(name, callee.object, args[0]) : node
}

function isPositional(args: readonly TemplateNode[]): boolean {
  return args.every(
    ({ type }) =>
      type !== 'KeywordArgumentExpression' &&
      type !== 'SpreadExpression' &&
      type !== 'KeywordSpreadExpression',
  )
}

/** In a list, so that the function is given the values with their types. */
function call(name: FunctionName, ...values: unknown[]): TemplateNode {
  return {
    type: 'CallExpression',
    callee: { type: 'Identifier', value: name },
    args: [{ type: 'ArrayLiteral', value: values }],
  }
}
