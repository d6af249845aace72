import { FormatError } from '../core/errors.ts'
import { show } from './json.ts'

/** What a global of a pickle stands for: a value as it is, or a function of what it is called with. */
export interface PickleGlobal {
  readonly value?: unknown
  /** @throws FormatError, or any error that says what its arguments must be */
  call?(args: readonly unknown[]): unknown
}

/** How a pickle is read. */
export interface PickleOptions {
  /** What messages call it. */
  readonly name: string
  /** Where `bytes` start in their file; default 0. */
  readonly byteOffset?: number
  /** The globals that may be in it, by `module.name`; each other one is refused by its name. */
  readonly globals: Readonly<Record<string, PickleGlobal>>
  /** What a persistent id stands for. */
  persistent?(id: unknown): unknown
}

/** A pickle needs more bytes than there are: the file ends, or only its start was read. */
export class PickleEnd extends FormatError {}

/**
 * The value of a pickle, as data: None is null; lists and tuples are arrays; dictionaries Maps; whole numbers
 * bigints where they are no safe integers. Nothing that a pickle names is looked up or run: globals are those
 * of `options`, and opcodes those that PyTorch's own reader of weights takes; all else is refused by name.
 * Source: Python's pickletools; PyTorch 2.15, torch/_weights_only_unpickler.py.
 * @returns the value, and where the next byte after it lies
 * @throws FormatError with the byte offset of what is refused
 */
export function readPickle(bytes: Uint8Array, options: PickleOptions): { value: unknown; end: number } {
  return new Unpickler(bytes, options).run()
}

/** A global of the table, as it lies on the stack. */
class Global {
  readonly name: string
  readonly meaning: PickleGlobal

  constructor(name: string, meaning: PickleGlobal) {
    this.name = name
    this.meaning = meaning
  }
}

/**
 * The opcodes that are read, by their byte; `operation` of the others gives their names, as far as they have
 * any.
 */
const opcodes: Readonly<Record<number, (machine: Unpickler) => void>> = {
  128: (machine) => machine.protocol(),
  40: (machine) => machine.mark(),
  78: (machine) => machine.push(null),
  136: (machine) => machine.push(true),
  137: (machine) => machine.push(false),
  74: (machine) => machine.push(machine.view(4).getInt32(0, true)),
  75: (machine) => machine.push(machine.view(1).getUint8(0)),
  77: (machine) => machine.push(machine.view(2).getUint16(0, true)),
  138: (machine) => machine.push(machine.long()),
  71: (machine) => machine.push(machine.view(8).getFloat64(0)),
  88: (machine) => machine.push(machine.text(machine.length())),
  85: (machine) => machine.push(machine.text(machine.view(1).getUint8(0))),
  41: (machine) => machine.push([]),
  93: (machine) => machine.push([]),
  125: (machine) => machine.push(new Map()),
  133: (machine) => machine.push(machine.pop(1)),
  134: (machine) => machine.push(machine.pop(2)),
  135: (machine) => machine.push(machine.pop(3)),
  116: (machine) => machine.push(machine.popToMark()),
  97: (machine) => machine.append(machine.pop(1)),
  101: (machine) => machine.append(machine.popToMark()),
  115: (machine) => machine.setItems(machine.pop(2)),
  117: (machine) => machine.setItems(machine.popToMark()),
  104: (machine) => machine.get(machine.view(1).getUint8(0)),
  106: (machine) => machine.get(machine.length()),
  113: (machine) => machine.put(machine.view(1).getUint8(0)),
  114: (machine) => machine.put(machine.length()),
  99: (machine) => machine.global(),
  82: (machine) => machine.reduce(),
  129: (machine) => machine.reduce(),
  98: (machine) => machine.build(),
  81: (machine) => machine.persistent(),
}

/** Those that are refused, for messages. */
const refused: Readonly<Record<number, string>> = {
  48: 'POP',
  49: 'POP_MARK',
  50: 'DUP',
  70: 'FLOAT',
  73: 'INT',
  76: 'LONG',
  80: 'PERSID',
  83: 'STRING',
  84: 'BINSTRING',
  86: 'UNICODE',
  66: 'BINBYTES',
  67: 'SHORT_BINBYTES',
  100: 'DICT',
  103: 'GET',
  105: 'INST',
  108: 'LIST',
  111: 'OBJ',
  112: 'PUT',
  130: 'EXT1',
  131: 'EXT2',
  132: 'EXT4',
  139: 'LONG4',
  140: 'SHORT_BINUNICODE',
  141: 'BINUNICODE8',
  142: 'BINBYTES8',
  143: 'EMPTY_SET',
  144: 'ADDITEMS',
  145: 'FROZENSET',
  146: 'NEWOBJ_EX',
  147: 'STACK_GLOBAL',
  148: 'MEMOIZE',
  149: 'FRAME',
  150: 'BYTEARRAY8',
  151: 'NEXT_BUFFER',
  152: 'READONLY_BUFFER',
}

/** Values that a pickle may make, each of which takes up to some 240 bytes; a tensor is made of about 20. */
const maxValues = 2_000_000

const stop = 0x2e
const markOfStack = Symbol('mark')

class Unpickler {
  private readonly bytes: Uint8Array
  private readonly options: PickleOptions
  private readonly stack: unknown[] = []
  private readonly memo = new Map<number, unknown>()
  /** How many were made. */
  private values = 0
  /** Of the next byte. */
  private at = 0
  /** Of the opcode that runs. */
  private start = 0

  constructor(bytes: Uint8Array, options: PickleOptions) {
    this.bytes = bytes
    this.options = options
  }

  run(): { value: unknown; end: number } {
    for (;;) {
      this.start = this.at
      const code = this.view(1).getUint8(0)
      if (code === stop) break
      const opcode = opcodes[code]
      if (!opcode) throw this.error(`must hold no ${refused[code] ?? `opcode 0x${code.toString(16)}`}`)
      opcode(this)
    }
    const [value] = this.pop(1)
    if (this.stack.length > 0) throw this.error(`must end with one value; ${this.stack.length} more are left`)
    return { value, end: this.at }
  }

  error(problem: string, cause?: unknown): FormatError {
    const byteOffset = (this.options.byteOffset ?? 0) + this.start
    return new FormatError(`${this.options.name}: the pickle ${problem}, at byte ${byteOffset}`, {
      byteOffset,
      cause,
    })
  }

  /** The next bytes. @throws PickleEnd if there are fewer */
  view(length: number): DataView {
    if (length > this.bytes.byteLength - this.at) {
      const message = `${this.options.name}: the pickle must end within its ${this.bytes.byteLength} bytes; ${length} more are missing at ${this.at}`
      throw new PickleEnd(message, { byteOffset: (this.options.byteOffset ?? 0) + this.start })
    }
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset + this.at, length)
    this.at += length
    return view
  }

  length(): number {
    return this.view(4).getUint32(0, true)
  }

  text(length: number): string {
    const { buffer, byteOffset } = this.view(length)
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
        new Uint8Array(buffer, byteOffset, length),
      )
    } catch (cause) {
      throw this.error('must hold text in UTF-8; it does not', cause)
    }
  }

  /** A whole number of up to 255 bytes, little-endian, in two's complement. */
  long(): number | bigint {
    const length = this.view(1).getUint8(0)
    const view = this.view(length)
    let value = 0n
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(view.getUint8(i))
    value = BigInt.asIntN(8 * length, value)
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }

  protocol(): void {
    const version = this.view(1).getUint8(0)
    if (version !== 2) throw this.error(`must be of protocol 2, as PyTorch writes it; it is of ${version}`)
  }

  push(value: unknown): void {
    if (++this.values > maxValues) throw this.error(`must make at most ${maxValues} values; it makes more`)
    this.stack.push(value)
  }

  mark(): void {
    this.stack.push(markOfStack)
  }

  pop(count: number): unknown[] {
    if (this.stack.length < count) throw this.error('must find what it takes from its stack; it is empty')
    const values = this.stack.splice(this.stack.length - count)
    if (values.includes(markOfStack)) throw this.error('must find values on its stack; there is a mark')
    return values
  }

  popToMark(): unknown[] {
    const at = this.stack.lastIndexOf(markOfStack)
    if (at < 0) throw this.error('must find a mark on its stack; there is none')
    return this.stack.splice(at).slice(1)
  }

  private top(): unknown {
    if (this.stack.length === 0) throw this.error('must find what it changes on its stack; it is empty')
    return this.stack.at(-1)
  }

  append(values: readonly unknown[]): void {
    const list = this.top()
    if (!Array.isArray(list)) throw this.error('must append to a list')
    for (const value of values) list.push(value)
  }

  setItems(values: readonly unknown[]): void {
    const map = this.top()
    if (!(map instanceof Map) || values.length % 2 !== 0) throw this.error('must set pairs in a dictionary')
    for (let i = 0; i < values.length; i += 2) map.set(values[i], values[i + 1])
  }

  get(index: number): void {
    if (!this.memo.has(index)) throw this.error(`must find ${index} in its memo; it is not there`)
    this.stack.push(this.memo.get(index))
  }

  put(index: number): void {
    this.memo.set(index, this.top())
  }

  global(): void {
    const name = `${this.line()}.${this.line()}`
    const { globals } = this.options
    if (!Object.hasOwn(globals, name))
      throw this.error(`must hold tensors alone, and nothing that runs code; it names ${show(name)}`)
    const meaning = globals[name]
    this.stack.push('value' in meaning ? meaning.value : new Global(name, meaning))
  }

  /** Up to the end of the line. */
  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.at)
    // Longer than any name; a pickle without a line's end is not searched to its own for each.
    const length = (end < 0 ? this.bytes.byteLength + 1 : end) - this.at
    if (end >= 0 && length > 1000) throw this.error('must name globals by at most 1000 bytes')
    const text = this.text(length)
    this.at++
    return text
  }

  reduce(): void {
    const [called, args] = this.pop(2)
    if (!(called instanceof Global) || !Array.isArray(args))
      throw this.error('must call one of the functions that it names')
    if (!called.meaning.call) throw this.error(`must not call ${called.name}`)
    try {
      this.stack.push(called.meaning.call(args))
    } catch (cause) {
      throw this.error(`must call ${called.name} with what it takes; ${(cause as Error).message}`, cause)
    }
  }

  /** Attributes of a dictionary, as PyTorch's state dictionaries have them, are passed over. */
  build(): void {
    const [state] = this.pop(1)
    if (!(this.top() instanceof Map) || !(state instanceof Map))
      throw this.error('must set the state of dictionaries alone (BUILD)')
  }

  persistent(): void {
    const [id] = this.pop(1)
    if (!this.options.persistent) throw this.error('must hold no persistent ids')
    try {
      this.stack.push(this.options.persistent(id))
    } catch (cause) {
      throw this.error((cause as Error).message, cause)
    }
  }
}
