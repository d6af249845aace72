import { ShapeError } from '../core/errors.ts'
import { inspect } from '../core/inspect.ts'
import { instanceOf, type Kind } from '../core/kinds.ts'
import type { Random } from '../core/random.ts'
import type { Device } from '../devices/device.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { Statistics } from '../qtensor/quantizer.ts'
import { keep } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { copyHolder, type Entry, entriesOf, isContainer } from './containers.ts'
import { entryLines, textBlock } from './moduleText.ts'
import { type ForwardWatcher, type Observation, observe } from './observe.ts'

/** What a module learns or loads: a float tensor or a quantized one. */
export type Parameter = Tensor | QTensor

/** How modules are listed. */
export interface ModuleListOptions {
  /**
   * Whether a module that stands at several paths is listed once, under the first, as PyTorch does. Default
   * true.
   */
  removeDuplicate?: boolean
}

/**
 * A layer, or layers within layers. Its parameters and children are its properties: a property that holds a
 * tensor is a parameter, one that holds a module a child, and so are those in lists, plain objects and Maps,
 * and in such within each other. Their names joined by dots are the paths that checkpoints use:
 * `blocks.0.1.weight`, `heads.cls.bias`. Functions, and objects of other classes, are not looked into: what
 * is no part of the model is held there.
 */
export abstract class Module {
  /**
   * Whether it trains: dropout drops, batch statistics are taken and remembered. Set for a whole model by
   * `train` and `eval`.
   */
  training = false

  /**
   * Arguments of the layer in PyTorch's notation, for `String(model)`: `in_features=64, out_features=172`.
   */
  extraRepr(): string {
    return ''
  }

  /** The class name that `String(model)` prints: its own static `typeName`, since bundlers shorten names. */
  get typeName(): string {
    const own = Object.getOwnPropertyDescriptor(this.constructor, 'typeName')
    return own?.value ?? this.constructor.name
  }

  /**
   * Direct children by name; those in containers as `layers.0`.
   * @throws ShapeError if one is in a Set, or else has no name that a path could have
   */
  *children(): Generator<[name: string, child: Module]> {
    for (const { name, part } of placesIn(this)) if (part instanceof Module) yield [name, part]
  }

  /**
   * Every module by path, itself first under ''.
   * @throws ShapeError if one contains itself, or as `children`
   */
  *namedModules({
    removeDuplicate = true,
  }: ModuleListOptions = {}): Generator<[path: string, module: Module]> {
    yield* modulesOf(this, '', [], removeDuplicate ? new Set() : null)
  }

  /** All paths of every module, itself under ''. */
  modulePaths(): Map<Module, [first: string, ...others: string[]]> {
    const paths = new Map<Module, [first: string, ...others: string[]]>()
    for (const [path, module] of this.namedModules({ removeDuplicate: false })) {
      const known = paths.get(module)
      if (known) known.push(path)
      else paths.set(module, [path])
    }
    return paths
  }

  /**
   * Its tensors that are state but not learned, such as running means; a container's name stands for all in
   * it.
   */
  get bufferNames(): readonly string[] {
    return []
  }

  /**
   * Its tensors that follow from its options, such as tables of angles, made when they are needed: in no
   * checkpoint, no parameters, and not copied. PyTorch's non-persistent buffers.
   */
  get nonPersistentNames(): readonly string[] {
    return []
  }

  /** What paths call its properties, where that is not the properties' own names. */
  get pathNames(): Readonly<Record<string, string>> {
    return {}
  }

  /**
   * The module's own tensors by name, those in containers as `weights.0`: parameters and buffers, what
   * checkpoints hold.
   */
  *ownTensors(): Generator<[name: string, tensor: Parameter]> {
    for (const { name, part } of placesIn(this)) if (!(part instanceof Module)) yield [name, part]
  }

  /** The module's own parameters by name. */
  *ownParameters(): Generator<[name: string, parameter: Parameter]> {
    const isBuffer = (name: string) =>
      this.bufferNames.some((buffer) => name === buffer || name.startsWith(`${buffer}.`))
    for (const [name, tensor] of this.ownTensors()) if (!isBuffer(name)) yield [name, tensor]
  }

  /**
   * Every parameter and buffer by path; tied ones, and those of a module at several paths, appear under each
   * of them.
   */
  *namedTensors(): Generator<[path: string, tensor: Parameter]> {
    for (const [path, module] of this.namedModules({ removeDuplicate: false }))
      for (const [name, tensor] of module.ownTensors()) yield [joinPath(path, name), tensor]
  }

  /**
   * Every parameter by path; tied ones, and those of a module at several paths, appear under each of them.
   */
  *namedParameters(): Generator<[path: string, parameter: Parameter]> {
    for (const [path, module] of this.namedModules({ removeDuplicate: false }))
      for (const [name, parameter] of module.ownParameters()) yield [joinPath(path, name), parameter]
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

  /**
   * Watches `forward`, however it is defined, until the returned function is called: `watcher` is told of
   * each pass, a function with what the module gives and what it took. It changes nothing; afterwards
   * `forward` is as it was found.
   *
   *     const end = model.fc.observe((y) => console.log(String(y)))
   */
  observe(watcher: ForwardWatcher | NonNullable<ForwardWatcher['output']>): Observation {
    return observe(this, typeof watcher === 'function' ? { output: watcher } : watcher)
  }

  /**
   * A model with copies of all parameters and buffers, and of what quantizers collected; what was tied or
   * shared stays so.
   * @throws ShapeError if `forward` of a module is a function of its own, which would go on computing with
   * the original
   */
  clone(): this {
    return copyOf(this, new Map()) as this
  }

  /** @throws ShapeError if there is no module at `path`. */
  getModule(path: string): Module {
    if (path === '') return this
    const part = placeAt(this, path)?.part
    if (part instanceof Module) return part
    throw new ShapeError(
      `getModule: path must lead to a module; received ${JSON.stringify(path)}, where there is none`,
    )
  }

  /**
   * Puts `module` in the place of the one at `path`; elsewhere that one stays, see `replaceModules`.
   * @throws ShapeError if there is none
   */
  setModule(path: string, module: Module): void {
    const place = placeAt(this, path)
    if (place?.part instanceof Module) place.put(module)
    else
      throw new ShapeError(
        `setModule: path must lead to a module within this one; received ${JSON.stringify(path)}, where there is none`,
      )
  }

  /** Puts others in the place of modules within this one, wherever those stand. */
  replaceModules(replacements: ReadonlyMap<Module, Module>): void {
    const seen = new Set<Module>()
    const visit = (module: Module) => {
      if (seen.has(module)) return
      seen.add(module)
      for (const { part, put } of [...placesIn(module)]) {
        if (!(part instanceof Module)) continue
        const replacement = replacements.get(part)
        if (replacement) put(replacement)
        visit(replacement ?? part)
      }
    }
    visit(this)
  }

  /** @throws ShapeError if there is no parameter at `path`. */
  getParameter(path: string): Parameter {
    return this.parameterPlace('getParameter', path).part
  }

  /**
   * Replaces the parameter at `path`; the old one is not disposed, since it may be tied.
   * @throws ShapeError if there is none
   */
  setParameter(path: string, parameter: Parameter): void {
    this.parameterPlace('setParameter', path).put(parameter)
  }

  private parameterPlace(operation: string, path: string): Place & { part: Parameter } {
    const place = placeAt(this, path)
    if (place && !(place.part instanceof Module)) return { ...place, part: place.part }
    throw new ShapeError(
      `${operation}: path must lead to a parameter; received ${JSON.stringify(path)}, where there is none`,
    )
  }

  /** Gives back the memory of every parameter and buffer, and of what quantizers collected. */
  dispose(): void {
    for (const [, module] of this.namedModules()) {
      for (const name of module.nonPersistentNames) {
        const tensor: unknown = Reflect.get(module, name)
        if (tensor instanceof Tensor) tensor.dispose()
        Reflect.set(module, name, null)
      }
      for (const value of Object.values(module)) if (value instanceof Statistics) value.dispose()
    }
    for (const tensor of new Set([...this.namedTensors()].map(([, tensor]) => tensor))) tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** The module tree as PyTorch prints it; equal neighbours in a list are printed once, with their count. */
  toString(): string {
    // One sentence for what contains itself, where printing it would never end.
    for (const _ of this.namedModules());
    const lines = entryLines(textsIn(this, []), false)
    return lines.length === 0 ? `${this.typeName}(${this.extraRepr()})` : textBlock(this.typeName, lines)
  }

  [inspect](): string {
    return this.toString()
  }
}

/** Two parts of a path, of which the first may be empty. */
export function joinPath(prefix: string, name: string): string {
  return prefix ? `${prefix}.${name}` : name
}

/** The path of the module that holds what stands at `path`. */
export function parentPath(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('.'), 0))
}

/** Where a module or tensor stands in a module. */
interface Place {
  /** From the module: `blocks.0.1`. */
  name: string
  part: Module | Parameter
  put(part: Module | Parameter): void
}

/** Every place in a module, those in its containers included: the one walk on which all others rest. */
function placesIn(module: Module): Generator<Place> {
  return placesUnder(module, [], [])
}

function* placesUnder(
  holder: object,
  names: readonly (string | null)[],
  within: readonly object[],
): Generator<Place> {
  for (const { name, value, put } of entriesIn(holder)) {
    const path = [...names, name]
    if (isPart(value)) yield { name: checkedName(path, value), part: value, put }
    else if (isContainer(value) && !within.includes(value))
      yield* placesUnder(value, path, [...within, value])
  }
}

/** The objects that a container or module holds, under their names in paths. */
function* entriesIn(holder: object): Generator<Entry> {
  if (!(holder instanceof Module)) return yield* entriesOf(holder)
  const { nonPersistentNames, pathNames } = holder
  for (const entry of entriesOf(holder)) {
    const name = entry.name ?? ''
    if (nonPersistentNames.includes(name)) continue
    yield Object.hasOwn(pathNames, name) ? { ...entry, name: pathNames[name] } : entry
  }
}

function isPart(value: unknown): value is Module | Parameter {
  return value instanceof Module || value instanceof Tensor || value instanceof QTensor
}

function checkedName(names: readonly (string | null)[], part: Module | Parameter): string {
  if (!names.includes(null)) return names.join('.')
  const what = part instanceof Module ? part.typeName : 'a tensor'
  const where = names.slice(0, names.indexOf(null)).join('.') || 'the module itself'
  const rule =
    'modules and tensors of a model must have names, which are strings without dots, numbers, or places in a list'
  throw new ShapeError(
    `namedModules: ${rule}; ${where} gives ${what} none (in a Set, say); take a list or a Map`,
  )
}

/**
 * A module and those within it; `above` are those that it is within, `seen` (where they are listed once)
 * those listed.
 */
function* modulesOf(
  module: Module,
  path: string,
  above: readonly Module[],
  seen: Set<Module> | null,
): Generator<[path: string, module: Module]> {
  if (above.includes(module)) {
    const advice =
      'hold a reference to a module above in a function, () => module, which is no part of the model'
    throw new ShapeError(
      `namedModules: a module must not contain itself; ${module.typeName} stands again at ${path}; ${advice}`,
    )
  }
  if (seen?.has(module)) return
  seen?.add(module)
  yield [path, module]
  for (const [name, child] of module.children())
    yield* modulesOf(child, joinPath(path, name), [...above, module], seen)
}

/** The place that a path leads to, through the modules on its way. */
function placeAt(module: Module, path: string): Place | undefined {
  for (const place of placesIn(module)) {
    if (place.name === path) return place
    if (!(place.part instanceof Module) || !path.startsWith(`${place.name}.`)) continue
    const found = placeAt(place.part, path.slice(place.name.length + 1))
    if (found) return found
  }
  return undefined
}

/** Modules, tensors, statistics and containers that hold some are copied, each once; all else is shared. */
function copyOf(value: unknown, known: Map<unknown, unknown>): unknown {
  if (known.has(value)) return known.get(value)
  if (value instanceof Tensor || value instanceof QTensor || value instanceof Statistics) {
    const copy =
      value instanceof Tensor && value.isMeta ? Tensor.meta(value.shape, value.dtype) : keep(value.clone())
    if (copy instanceof Tensor && value instanceof Tensor) copy.requiresGrad = value.requiresGrad
    known.set(value, copy)
    return copy
  }
  if (value instanceof Module) {
    checkOwnForward(value)
    for (const name of value.nonPersistentNames) known.set(Reflect.get(value, name), null)
  } else if (!isContainer(value) || placesUnder(value, [], [value]).next().done) return value
  return copyHolder(value, (held) => copyOf(held, known), known)
}

/** An arrow function keeps the `this` of the module that it was made for. */
function checkOwnForward(module: Module): void {
  if (!Object.getOwnPropertyDescriptor(module, 'forward')?.enumerable || placesIn(module).next().done) return
  throw new ShapeError(
    `clone: forward must be a method of its class; that of ${module.typeName} is a property, a function that would go on computing with the original`,
  )
}

/** The modules in a module or container, each as it prints; containers as PyTorch prints its own. */
function* textsIn(holder: object, within: readonly object[]): Generator<[name: string, text: string]> {
  for (const { name, value } of entriesIn(holder)) {
    if (value instanceof Module) yield [name ?? '', String(value)]
    else if (isContainer(value) && !within.includes(value)) {
      const isList = Array.isArray(value)
      const lines = entryLines(textsIn(value, [...within, value]), isList)
      if (lines.length > 0) yield [name ?? '', textBlock(isList ? 'ModuleList' : 'ModuleDict', lines)]
    }
  }
}

/** A model or a layer. */
export const aModule: Kind = instanceOf(Module, 'be a Module, a model or a layer')
