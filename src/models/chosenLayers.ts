import type { LoadPlan, PlannedParameter } from '../checkpoints/plan.ts'
import type { WritingScheme } from '../formats/schemes/targets.ts'
import { parentPath } from '../nn/module.ts'
import { QModule, QWeightModule } from '../nn/qmodule.ts'
import { findTwin } from '../nn/twins.ts'
import { globMatcher } from '../quantize/glob.ts'
import { checkGlobs } from '../quantize/quantize.ts'
import type { CausalLM } from './causalLM.ts'

/** Which layers of a model are quantized where a conversion leads. */
export interface ChosenLayers {
  /** The paths of the layers of a parameter that are. */
  layersOf(planned: PlannedParameter): readonly string[]
  /**
   * Why the codes of a parameter become floats whatever they are, the end of a sentence; null where they need
   * not.
   */
  reasonAgainst(planned: PlannedParameter): string | null
}

/** The twins that hold a parameter as their weight. */
export function twinsAt(model: CausalLM, { paths }: PlannedParameter): QWeightModule[] {
  return paths.flatMap((path) => {
    const module = path.endsWith('.weight') ? model.getModule(parentPath(path)) : null
    return module instanceof QWeightModule ? [module] : []
  })
}

/**
 * Without `include`, the layers that are quantized in the source; of a float model all that multiply weights,
 * but the head where the target's embeddings are floats. Only layers of the classes that the scheme holds.
 * @throws ShapeError if a glob matches no module
 */
export function chosenLayers(
  { model, parameters, scheme: source }: LoadPlan<CausalLM>,
  scheme: WritingScheme | null,
  { include, exclude }: { include?: readonly string[]; exclude?: readonly string[] },
): ChosenLayers {
  checkGlobs(model, [...(include ?? []), ...(exclude ?? [])], 'convert')
  const classes = scheme ? (scheme.writer.layers ?? ['Linear']) : []
  const [included, excluded] = [include && globMatcher(include), globMatcher(exclude ?? [])]
  const headPaths = new Set(
    [...model.namedModules({ removeDuplicate: false })].flatMap(([path, module]) =>
      module === model.lm_head ? [path] : [],
    ),
  )
  const layersAt = ({ paths }: PlannedParameter) =>
    paths.filter((path) => path.endsWith('.weight') && isLayer(model, parentPath(path))).map(parentPath)
  const isHeld = (path: string) => classes.includes(className(model, path))
  const byDefault = (planned: PlannedParameter, path: string) => {
    const others = layersAt(planned).some((each) => !isHeld(each))
    // A head that shares its weight with an embedding that stays float stays with it.
    if (others || (headPaths.has(path) && !classes.includes('Embedding') && !planned.weight)) return false
    return source === 'none' ? isHeld(path) : planned.weight !== undefined
  }
  const chosen = new Map<PlannedParameter, readonly string[]>()
  for (const planned of parameters) {
    const layers = layersAt(planned).filter(
      (path) => isHeld(path) && !excluded(path) && (included ? included(path) : byDefault(planned, path)),
    )
    chosen.set(planned, layers)
  }
  return {
    layersOf: (planned) => chosen.get(planned) ?? [],
    reasonAgainst(planned) {
      const layers = layersAt(planned)
      const other = layers.find((path) => !isHeld(path))
      if (other !== undefined)
        return `it is of a layer ${className(model, other)}, which stays float in the target`
      return (chosen.get(planned) ?? []).length === layers.length ? null : 'it is to become a float'
    },
  }
}

/** Whether there is a twin of the layer, or it is one. */
function isLayer(model: CausalLM, path: string): boolean {
  const module = model.getModule(path)
  return (
    module instanceof QWeightModule ||
    (findTwin(module) !== undefined && !(module instanceof QModule) && hasMatrix(module))
  )
}

function hasMatrix(module: object): boolean {
  const weight: unknown = Reflect.get(module, 'weight')
  return (
    typeof weight === 'object' &&
    weight !== null &&
    'shape' in weight &&
    (weight.shape as unknown[]).length >= 2
  )
}

/** The class of the float layer at a path. */
function className(model: CausalLM, path: string): string {
  const module = model.getModule(path)
  return module instanceof QModule ? module.typeName.replace(/^Q/, '') : module.typeName
}
