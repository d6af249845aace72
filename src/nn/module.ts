import { ShapeError } from '../core/errors.ts'
import { instanceOf, type Kind } from '../core/kinds.ts'
import type { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/** What a module learns or loads: a float tensor or a quantized one. */
export type Parameter = Tensor | QTensor

/**
 * A layer, or layers within layers. Its parameters and children are its properties: a property that holds a tensor is a
 * parameter, one that holds a module a child, one that holds modules in an array their list. Their names joined by dots
 * are the paths that checkpoints use.
 */
export abstract class Module {
  /** Whether it trains: dropout drops, batch statistics are taken and remembered. Set for a whole model by `train` and `eval`. */
  training = false

  /** Arguments of the layer in PyTorch's notation, for `String(model)`: `in_features=64, out_features=172`. */
  extraRepr(): string {
    return ''
  }

  /** The class name that `String(model)` prints. */
  get typeName(): string {
    return this.constructor.name
  }

  /** Direct children by name; those in arrays as `layers.0`. */
  *children(): Generator<[name: string, child: Module]> {
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Module) yield [name, value]
      else if (Array.isArray(value))
        for (const [index, item] of value.entries()) if (item instanceof Module) yield [`${name}.${index}`, item]
    }
  }

  /** Every module by path, itself first under ''. */
  *namedModules(prefix = ''): Generator<[path: string, module: Module]> {
    yield [prefix, this]
    for (const [name, child] of this.children()) yield* child.namedModules(join(prefix, name))
  }

  /** Its tensors that are state but not learned, such as running means. */
  get bufferNames(): readonly string[] {
    return []
  }

  /** The module's own tensors by name: parameters and buffers, what checkpoints hold. */
  *ownTensors(): Generator<[name: string, tensor: Parameter]> {
    for (const [name, value] of Object.entries(this)) if (value instanceof Tensor || value instanceof QTensor) yield [name, value]
  }

  /** The module's own parameters by name. */
  *ownParameters(): Generator<[name: string, parameter: Parameter]> {
    for (const [name, value] of this.ownTensors()) if (!this.bufferNames.includes(name)) yield [name, value]
  }

  /** Every parameter and buffer by path; tied ones appear under each of their paths. */
  *namedTensors(): Generator<[path: string, tensor: Parameter]> {
    for (const [path, module] of this.namedModules()) for (const [name, tensor] of module.ownTensors()) yield [join(path, name), tensor]
  }

  /** Every parameter by path; tied ones appear under each of their paths. */
  *namedParameters(): Generator<[path: string, parameter: Parameter]> {
    for (const [path, module] of this.namedModules())
      for (const [name, parameter] of module.ownParameters()) yield [join(path, name), parameter]
  }

  /** Every parameter once. */
  parameters(): Set<Parameter> {
    return new Set([...this.namedParameters()].map(([, parameter]) => parameter))
  }

  /** Puts the model into training mode, in place. */
  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.training = mode
    return this
  }

  /** Puts the model into evaluation mode, in place. */
  eval(): this {
    return this.train(false)
  }

  /** Fills the module's own parameters and buffers as PyTorch does before training; see `initialize`. */
  resetParameters(_device: Device, _random: Random): void {}

  /** A model with copies of all parameters and buffers; what was tied stays tied. */
  clone(): this {
    return copyOf(this, new Map()) as this
  }

  /** @throws ShapeError if there is no module at `path`. */
  getModule(path: string): Module {
    let module: Module = this
    for (const [name, child] of walk(this, path)) {
      if (!child) throw new ShapeError(`getModule: no module ${JSON.stringify(name)}; the path was ${JSON.stringify(path)}`)
      module = child
    }
    return module
  }

  /** Puts `module` in the place of the one at `path`. */
  setModule(path: string, module: Module): void {
    const { owner, key } = this.ownerOf(path)
    if (!(owner[key] instanceof Module)) throw new ShapeError(`setModule: no module at ${JSON.stringify(path)}`)
    owner[key] = module
  }

  /** @throws ShapeError if there is no parameter at `path`. */
  getParameter(path: string): Parameter {
    const { owner, key } = this.ownerOf(path)
    const value = owner[key]
    if (value instanceof Tensor || value instanceof QTensor) return value
    throw new ShapeError(`getParameter: no parameter at ${JSON.stringify(path)}`)
  }

  /** Replaces the parameter at `path`; the old one is not disposed, since it may be tied. */
  setParameter(path: string, parameter: Parameter): void {
    this.getParameter(path)
    const { owner, key } = this.ownerOf(path)
    owner[key] = parameter
  }

  private ownerOf(path: string): { owner: Record<string, unknown>; key: string } {
    const dot = path.lastIndexOf('.')
    const key = path.slice(dot + 1)
    const parent = path.slice(0, Math.max(dot, 0))
    // A module, or a list of modules.
    let owner: unknown = this
    for (const name of parent === '' ? [] : parent.split('.')) {
      owner = typeof owner === 'object' && owner !== null && Object.hasOwn(owner, name) ? Reflect.get(owner, name) : undefined
    }
    if (!(owner instanceof Module) && !Array.isArray(owner)) owner = this.getModule(parent)
    return { owner: owner as Record<string, unknown>, key }
  }

  /** Gives back the memory of every parameter and buffer. */
  dispose(): void {
    for (const [, tensor] of this.namedTensors()) tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** The module tree as PyTorch prints it; equal neighbours in a list are printed once, with their count. */
  toString(): string {
    const lines: string[] = []
    const lists = new Map<string, [index: string, child: Module][]>()
    for (const [name, child] of this.children()) {
      const dot = name.indexOf('.')
      if (dot < 0) lines.push(`(${name}): ${child}`)
      else {
        const list = name.slice(0, dot)
        const items = lists.get(list) ?? []
        if (items.length === 0) {
          lists.set(list, items)
          lines.push(list)
        }
        items.push([name.slice(dot + 1), child])
      }
    }
    const body = lines.map((line) =>
      indent(lists.has(line) ? `(${line}): ModuleList(\n${indent(listLines(lists.get(line) ?? []))}\n)` : line),
    )
    if (body.length === 0) return `${this.typeName}(${this.extraRepr()})`
    return `${this.typeName}(\n${body.join('\n')}\n)`
  }
}

/** Modules, their lists and their tensors are copied, each once; all else is shared. */
function copyOf(value: unknown, known: Map<unknown, unknown>): unknown {
  const isTensor = value instanceof Tensor || value instanceof QTensor
  if (!isTensor && !(value instanceof Module) && !(Array.isArray(value) && value.some((item) => item instanceof Module))) return value
  if (known.has(value)) return known.get(value)
  if (isTensor) {
    const copy = value instanceof Tensor && value.isMeta ? Tensor.meta(value.shape, value.dtype) : keep(value.clone())
    known.set(value, copy)
    return copy
  }
  const copy = Array.isArray(value) ? [] : Object.create(Object.getPrototypeOf(value))
  known.set(value, copy)
  for (const [key, property] of Object.entries(value)) copy[key] = copyOf(property, known)
  return copy
}

function listLines(items: [index: string, child: Module][]): string {
  const runs: { first: string; last: string; count: number; text: string }[] = []
  for (const [index, child] of items) {
    const text = String(child)
    const run = runs.at(-1)
    if (run?.text === text) Object.assign(run, { last: index, count: run.count + 1 })
    else runs.push({ first: index, last: index, count: 1, text })
  }
  return runs
    .map(({ first, last, count, text }) => (count === 1 ? `(${first}): ${text}` : `(${first}-${last}): ${count} x ${text}`))
    .join('\n')
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ')
}

function join(prefix: string, name: string): string {
  return prefix ? `${prefix}.${name}` : name
}

/** The modules along a path, undefined where one is missing. */
function* walk(root: Module, path: string): Generator<[name: string, module: Module | undefined]> {
  if (path === '') return
  let here: unknown = root
  let name = ''
  for (name of path.split('.')) {
    here = typeof here === 'object' && here !== null && Object.hasOwn(here, name) ? Reflect.get(here, name) : undefined
    if (here instanceof Module) yield [name, here]
    else if (!Array.isArray(here)) {
      yield [name, undefined]
      return
    }
  }
  // The path ends at a list.
  if (!(here instanceof Module)) yield [name, undefined]
}

/** A model or a layer. */
export const aModule: Kind = instanceOf(Module, 'be a Module, a model or a layer')
