import { ShapeError } from '../core/errors.ts'
import { differsFrom, placeWeights, standsAlone } from '../qtensor/adjacent.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import { tiledRows, tileRows } from '../qtensor/tiles.ts'
import { placeAdjacent } from '../tensor/adjacent.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { Block } from './block.ts'
import { Experts } from './experts.ts'
import { type FusedLayer, FusedLayers } from './fusedLayers.ts'
import { Linear } from './linear.ts'
import { joinPath, type Module } from './module.ts'
import { QLinear } from './qlinear.ts'

/**
 * The layers of modules that are no blocks of lowbit, by their names in the module, in the order of AWQ's
 * `modules_to_fuse`: all but the last take the same input.
 */
export interface FuseMapping {
  /** Queries, keys, values, output: `['q_proj', 'k_proj', 'v_proj', 'o_proj']`. */
  attention?: readonly string[]
  /** Gate, values, output: `['gate_proj', 'up_proj', 'down_proj']`. */
  mlp?: readonly string[]
}

/** What became of the layers of a model that take the same inputs. */
export interface FuseReport {
  /** The paths of layers that are computed together, a list for each product. */
  fused: string[][]
  /** The layers that stay apart, and why. */
  apart: { path: string; why: string }[]
}

/** A layer that takes the same input as others. */
interface Sibling {
  path: string
  layer: FusedLayer
}

/**
 * Lays the weights of layers that take the same input one behind the other, those that fit each other; from
 * then on a step of generation multiplies them as one.
 * @throws ShapeError if the model trains or is not frozen, or a name of the mapping is that of no layer; the
 * model is then as before
 */
export function fuseLayers(model: Module, mapping: FuseMapping = {}): FuseReport {
  checkSettled(model)
  const report: FuseReport = { fused: [], apart: [] }
  const groups: Sibling[][] = []
  const paths = model.modulePaths()
  const shared = sharedTensors(model)
  for (const named of siblingsIn(model, mapping)) {
    const siblings: Sibling[] = []
    for (const [path, layer] of named) {
      const why = alone(layer, paths, shared)
      if (why === null) siblings.push({ path, layer: layer as FusedLayer })
      else report.apart.push({ path, why })
    }
    for (const group of groupsOf(siblings)) {
      if (group.length > 1) groups.push(group)
      else report.apart.push({ path: group[0].path, why: whyNone(group[0], siblings) })
    }
  }
  for (const sibling of groups.flat()) checkNotLearned(sibling)
  for (const group of groups) join(group.map(({ layer }) => layer))
  report.fused = groups.map((group) => group.map(({ path }) => path))
  return report
}

/** @throws ShapeError if parameters may still change, or have no values yet */
function checkSettled(model: Module): void {
  for (const [path, module] of model.namedModules()) {
    const where = `${path || 'the model'} (${module.typeName})`
    if (module.training) throw new ShapeError(`fuse: the model must not train, call eval(); ${where} does`)
    if ('frozen' in module && module.frozen === false)
      throw new ShapeError(`fuse: the model must be frozen, call freeze(model); ${where} is not`)
  }
  for (const [path, tensor] of model.namedTensors())
    if (tensor instanceof Tensor && tensor.isMeta)
      throw new ShapeError(`fuse: the model must have its weights; ${path} has no memory`)
}

/** @throws ShapeError if a parameter of layers that are to be one learns: an optimizer holds it as it is */
function checkNotLearned({ path, layer }: Sibling): void {
  for (const [name, parameter] of layer.ownParameters())
    if (parameter instanceof Tensor && parameter.requiresGrad)
      throw new ShapeError(
        `fuse: layers that are fused must not learn, set requiresGrad of their parameters to false; that of ${path}.${name} is true`,
      )
}

/** The layers of each module that take the same input, by path. */
function* siblingsIn(model: Module, mapping: FuseMapping): Generator<[path: string, layer: Module][]> {
  const lists = Object.entries<readonly string[]>({ ...mapping }).map(([part, names]) => ({
    part,
    names: names.slice(0, -1),
    found: 0,
  }))
  /** Multiplied by expert, all tokens of each at once. */
  const experts = new Set<Module>()
  for (const [path, module] of model.namedModules()) {
    const children = new Map(module.children())
    const pathsOf = (layers: readonly (Module | undefined)[]) =>
      [...children]
        .filter(([, child]) => layers.includes(child))
        .map(([name, child]): [string, Module] => [joinPath(path, name), child])
    const mapped = lists.filter(({ names }) => names.every((name) => children.has(name)))
    for (const list of mapped) list.found++
    if (module instanceof Experts) for (const expert of module.experts) experts.add(expert)
    if (experts.has(module)) continue
    if (module instanceof Block && module.sameInput.length > 0)
      yield pathsOf(module.sameInput.map((part) => Reflect.get(module, part)))
    else for (const { names } of mapped) yield pathsOf(names.map((name) => children.get(name)))
  }
  for (const { part, names, found } of lists)
    if (found === 0)
      throw new ShapeError(
        `fuse: mapping.${part} must name layers of a module; none of the model has ${names.join(', ')}`,
      )
}

/** The tensors that stand at several paths. */
function sharedTensors(model: Module): ReadonlySet<unknown> {
  const [seen, shared] = [new Set<unknown>(), new Set<unknown>()]
  for (const [, tensor] of model.namedTensors()) (seen.has(tensor) ? shared : seen).add(tensor)
  return shared
}

/** Why a layer stays apart whatever the others are, in the end of a sentence; null: it need not. */
function alone(
  layer: Module,
  paths: ReturnType<Module['modulePaths']>,
  shared: ReadonlySet<unknown>,
): string | null {
  if (!isFusable(layer)) return `it is a ${layer.typeName}, no Linear`
  const { weight, bias } = layer
  if ((paths.get(layer)?.length ?? 0) > 1 || shared.has(weight) || shared.has(bias))
    return 'its weight stands in several places'
  if (layer instanceof QLinear && layer.activations) return 'its inputs are rounded by a scale of its own'
  if (tensorsOf(weight).some(({ storage }) => storage.owner.onDisk)) return 'its weight lies on disk'
  return weight instanceof QTensor ? standsAlone(weight) : null
}

/** Classes that extend these may compute otherwise. */
function isFusable(layer: Module): layer is FusedLayer {
  return layer.constructor === Linear || layer.constructor === QLinear
}

function tensorsOf(weight: Tensor | QTensor): Tensor[] {
  return weight instanceof QTensor ? weight.tensors() : [weight]
}

/** Siblings whose weights can stand in one. */
function groupsOf(siblings: readonly Sibling[]): Sibling[][] {
  const groups: Sibling[][] = []
  // A bias that does not fill its last tile has nothing behind it.
  const order = siblings.toSorted((a, b) => Number(!fills(a)) - Number(!fills(b)))
  for (const sibling of order) {
    const group = groups.find(
      (group) => fills(group[group.length - 1]) && differs(sibling.layer, group[0].layer) === null,
    )
    if (group) group.push(sibling)
    else groups.push([sibling])
  }
  return groups
}

function fills({ layer: { weight, bias, outFeatures } }: Sibling): boolean {
  return weight instanceof Tensor || !bias || tiledRows(outFeatures) === outFeatures
}

/** Why two layers cannot be one product, in the end of a sentence; null: they can. */
function differs(layer: FusedLayer, other: FusedLayer): string | null {
  const kind = ({ bias }: FusedLayer) => (bias ? `a bias in ${bias.dtype}` : 'no bias')
  if (kind(layer) !== kind(other)) return `it has ${kind(layer)}, another ${kind(other)}`
  const { weight } = layer
  if (weight instanceof QTensor && other.weight instanceof QTensor) return differsFrom(weight, other.weight)
  const type = (one: Tensor | QTensor) => (one instanceof QTensor ? one.qtype.name : one.dtype)
  if (type(weight) !== type(other.weight))
    return `it has weights in ${type(weight)}, another in ${type(other.weight)}`
  return layer.inFeatures === other.inFeatures ? null : 'it takes inputs of another size'
}

/** Why a layer that could be one product with others is alone. */
function whyNone(sibling: Sibling, siblings: readonly Sibling[]): string {
  const others = siblings.filter((one) => one !== sibling)
  if (others.length === 0) return 'the layers beside it stay apart'
  const why = differs(sibling.layer, others[0].layer)
  return why ?? `its bias of ${sibling.layer.outFeatures} values does not fill tiles of ${tileRows}`
}

/** Lays the parameters of layers one behind the other, and computes the layers together from now on. */
function join(layers: readonly FusedLayer[]): void {
  const biases = layers.map(({ bias }) => bias).filter((bias) => bias !== null)
  const weights = layers.map(({ weight }) => weight)
  const quantized = weights.filter((weight) => weight instanceof QTensor)
  const placed = keep(
    scope(() => ({
      weights: quantized.length > 0 ? placeWeights(quantized) : placeAdjacent(weights as readonly Tensor[]),
      biases: biases.length > 0 ? placeAdjacent(biases) : null,
    })),
  )
  for (const [i, layer] of layers.entries()) {
    for (const parameter of [layer.weight, layer.bias]) parameter?.dispose()
    layer.weight = placed.weights[i]
    layer.bias = placed.biases?.[i] ?? null
  }
  new FusedLayers(layers)
}
