import { ShapeError } from '../../core/errors.ts'
import type { Storage } from '../../devices/storage.ts'
import type { Module } from '../../nn/module.ts'
import type { Observation } from '../../nn/observe.ts'
import { scope } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import { globMatcher } from '../glob.ts'
import { checkGlobs } from '../quantize.ts'
import type { CalibratedLayer } from './algorithm.ts'
import { expertsOf } from './expertRows.ts'
import { type LayerGroup, type Model, type SampleArguments, Stage } from './stage.ts'

/** What the first sample showed of a module. */
interface Visit {
  module: Module
  path: string
  /** When it was first called. */
  order: number
  calls: number
  /** What it took first, and what it gave: which tensor, not which values. */
  input: unknown
  output: unknown
  /** Which memory the rows lie in that its weight multiplies. */
  rows: string
}

/**
 * The stages of a model, found by passing one sample through it: its blocks are the modules that match the
 * globs, by default the longest chain of modules of one class, each of which takes what the one before gives.
 * @throws ShapeError if globs match no chain, or a layer is never reached
 */
export function stagesOf(
  model: Model,
  layers: ReadonlyMap<string, CalibratedLayer>,
  sample: SampleArguments,
  globs?: readonly string[],
): Stage[] {
  const visits = visitsOf(model, layers, sample)
  const blocks = globs ? namedChain(model, visits, globs) : longestChain(visits, layers)
  const found = new Map([...layers.values()].map((layer) => [layer, visits.get(layer.float)]))
  checkReached([...found].flatMap(([{ path }, visit]) => (visit ? [] : [path])))
  const places = new Map<Module, number>()
  for (const [i, { module }] of blocks.entries())
    for (const [, part] of module.namedModules()) places.set(part, i)
  const start = blocks[0]?.order ?? Infinity
  const byPlace = new Map<number, [CalibratedLayer, Visit][]>()
  for (const [layer, visit] of found) {
    const { module, order } = visit as Visit
    const place = places.get(module) ?? (order < start ? -1 : blocks.length)
    byPlace.set(place, [...(byPlace.get(place) ?? []), [layer, visit as Visit]])
  }
  const modules = blocks.map(({ module }) => module)
  const { byLayer } = expertsOf(model)
  const inside = (place: number) =>
    [...visits.values()].filter(({ module }) => places.get(module) === place && module !== modules[place])
  const stages: Stage[] = []
  for (let place = -1; place <= blocks.length; place++) {
    const here = byPlace.get(place) ?? []
    // The first block's input is made before it, whether layers are there or not.
    if (here.length > 0 || (place < blocks.length && blocks.length > 0))
      stages.push(
        new Stage(model, modules, place, blocks[place]?.path ?? '', groupsOf(here, inside(place), byLayer)),
      )
  }
  return stages
}

function checkReached(missing: readonly string[]): void {
  if (missing.length === 0) return
  const others = missing.length > 3 ? ` and ${missing.length - 3} others` : ''
  throw new ShapeError(
    `quantizeCalibrated: the data must reach every layer; exclude what it never calls: ${missing.slice(0, 3).join(', ')}${others}`,
  )
}

function visitsOf(
  model: Model,
  layers: ReadonlyMap<string, CalibratedLayer>,
  sample: SampleArguments,
): Map<Module, Visit> {
  const visits = new Map<Module, Visit>()
  const observations: Observation[] = []
  const twins = new Map([...layers.values()].map(({ float, twin }) => [float as Module, twin]))
  // Every allocation is a storage of its own, so that memory that is used again is told apart.
  const storages = new Map<Storage, number>()
  const placeOf = ({ storage, byteOffset, numel }: Tensor) => {
    if (!storages.has(storage)) storages.set(storage, storages.size)
    return `${storages.get(storage)} ${byteOffset} ${numel}`
  }
  for (const [path, module] of model.namedModules()) {
    const twin = twins.get(module)
    const input = ([x]: readonly unknown[]) => {
      const known = visits.get(module)
      if (known) {
        known.calls++
        return
      }
      const rows =
        x instanceof Tensor && twin?.inputRows
          ? placeOf(scope(() => twin.inputRows?.(x) ?? x))
          : `module ${visits.size}`
      visits.set(module, { module, path, order: visits.size, calls: 1, input: x, output: undefined, rows })
    }
    const output = (y: unknown) => {
      const visit = visits.get(module)
      if (visit) visit.output = y
    }
    observations.push(module.observe({ input, output }))
  }
  try {
    noGrad(() => scope(() => void model.forward(...(sample as never[]))))
  } finally {
    for (const end of observations) end()
  }
  return visits
}

/** Of all chains the one with the most layers in it, of those the one with the most links. */
function longestChain(
  visits: ReadonlyMap<Module, Visit>,
  layers: ReadonlyMap<string, CalibratedLayer>,
): Visit[] {
  const wanted = new Set([...layers.values()].map(({ float }) => float as Module))
  const chains = new Map<unknown, Visit[][]>()
  for (const visit of visits.values()) {
    if (visit.calls > 1 || !(visit.output instanceof Tensor)) continue
    const ofClass = chains.get(visit.module.constructor) ?? []
    chains.set(visit.module.constructor, ofClass)
    const last = ofClass.at(-1)
    if (last && follows(visit, last.at(-1) as Visit)) last.push(visit)
    else ofClass.push([visit])
  }
  let best: { chain: Visit[]; covered: number } = { chain: [], covered: 0 }
  for (const chain of [...chains.values()].flat()) {
    if (chain.length < 2) continue
    const inside = chain.flatMap(({ module }) => [...module.namedModules()].map(([, part]) => part))
    const covered = inside.filter((part) => wanted.has(part)).length
    if (covered > best.covered || (covered === best.covered && chain.length > best.chain.length))
      best = { chain, covered }
  }
  return best.covered > 0 ? best.chain : []
}

function follows(visit: Visit, before: Visit): boolean {
  return visit.input instanceof Tensor && visit.input === before.output
}

/** The modules that match globs, those within others left out. */
function namedChain(model: Model, visits: ReadonlyMap<Module, Visit>, globs: readonly string[]): Visit[] {
  if (globs.length === 0) return []
  checkGlobs(model, globs, 'quantizeCalibrated: blocks')
  const matches = globMatcher(globs)
  const paths = [...model.namedModules()].map(([path]) => path).filter((path) => path && matches(path))
  const outer = paths.filter((path) => !paths.some((other) => path.startsWith(`${other}.`)))
  const chain = outer.map((path) => {
    const visit = visits.get(model.getModule(path))
    if (visit?.calls === 1) return visit
    throw new ShapeError(
      `quantizeCalibrated: every block must be called once in a pass; ${path} was called ${visit?.calls ?? 0} times`,
    )
  })
  chain.sort((a, b) => a.order - b.order)
  for (const [i, visit] of chain.entries())
    if (i > 0 && !follows(visit, chain[i - 1]))
      throw new ShapeError(
        `quantizeCalibrated: every block must take what the one before gives; ${visit.path} takes something else than ${chain[i - 1].path} gave`,
      )
  return chain
}

/**
 * Layers that take the very same rows stand together, in the order of their calls.
 * @param modules of the block that they stand in, but not the block
 */
function groupsOf(
  layers: readonly [CalibratedLayer, Visit][],
  modules: readonly Visit[],
  ofExperts: ReadonlyMap<Module, unknown>,
): LayerGroup[] {
  const groups = new Map<string, [CalibratedLayer, Visit][]>()
  for (const one of [...layers].sort(([, a], [, b]) => a.order - b.order)) {
    const [, { rows, calls }] = one
    const key = `${rows} ${calls}`
    groups.set(key, [...(groups.get(key) ?? []), one])
  }
  return [...groups.values()].map((group) => {
    const [[, last]] = group
    const alone = group.length === 1 && last.calls === 1 && !ofExperts.has(last.module)
    const gives = alone ? giving(last, modules, layers) : null
    return { layers: group.map(([layer]) => layer), calls: last.calls, gives }
  })
}

/** The outermost module around a layer that gives what that gives, and has no layer that is called later. */
function giving(
  { path, output, order }: Visit,
  modules: readonly Visit[],
  layers: readonly [CalibratedLayer, Visit][],
): Module | null {
  const around = modules.filter(
    (outer) =>
      outer.output === output &&
      outer.calls === 1 &&
      path.startsWith(`${outer.path}.`) &&
      layers.every(([, inner]) => inner.order <= order || !inner.path.startsWith(`${outer.path}.`)),
  )
  return around.sort((a, b) => a.order - b.order)[0]?.module ?? null
}
