import { DeviceError, DTypeError, ShapeError } from '../../core/errors.ts'
import { anObject, atLeast, check, isObject, type Kind, show } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { sameShape, showShape } from '../../core/shape.ts'
import { QTensor } from '../../qtensor/qtensor.ts'
import { keep } from '../../tensor/scope.ts'
import { noGrad } from '../../tensor/tape.ts'
import { Tensor } from '../../tensor/tensor.ts'
import type { Parameter } from '../module.ts'

/** What every optimizer of parameters is set by. */
export interface StepSettings {
  /** The learning rate, which schedules change. */
  lr: number
}

/** Parameters that share settings. */
export type Group<S> = S & { params: Tensor[] }

/** The parameters to train: alone, or in groups that set some settings of their own. */
export type Trained<S> = Iterable<Parameter> | Iterable<Partial<S> & { params: Iterable<Parameter> }>

/** What an optimizer remembers of one parameter: how many steps it took, and tensors of its shape. */
export interface ParameterState {
  step: number
  tensors: Record<string, Tensor>
}

/** What an optimizer remembers, parameters counted through all groups. */
export interface OptimizerState<S> {
  state: Record<number, ParameterState>
  paramGroups: (S & { params: number[] })[]
}

/** What each setting of an optimizer must be. */
export type SettingKinds<S> = OptionKinds<Partial<S>>

export const stepKinds: SettingKinds<StepSettings> = { lr: atLeast(0) }

const trainedKind: Kind = {
  must: 'be a list of parameters, such as model.parameters(), or of groups with params',
  holds: (value) => (isObject(value) && Symbol.iterator in value) || Array.isArray(value),
}

/**
 * Changes parameters by their gradients. One kernel call a parameter; the settings of a group may change
 * between steps.
 * Source: the interface of torch.optim.
 */
export abstract class ParameterOptimizer<S extends StepSettings = StepSettings> {
  readonly paramGroups: Group<S>[] = []
  private readonly states = new Map<Tensor, ParameterState>()

  /** @throws DTypeError, DeviceError or ShapeError for what cannot be trained, or is there twice */
  constructor(trained: Trained<S>, defaults: S) {
    check(this.name, 'settings', defaults, anObject)
    check(this.name, 'parameters', trained, trainedKind)
    const all = [...trained]
    const groups = all.filter((item) => isObject(item) && 'params' in item) as (Partial<S> & {
      params: Iterable<Parameter>
    })[]
    if (groups.length === 0) this.addGroup(all as Parameter[], defaults)
    else if (groups.length < all.length)
      throw new ShapeError(`${this.name}: parameters must be tensors or groups; received both`)
    for (const { params, ...settings } of groups) this.addGroup(params, { ...defaults, ...settings } as S)
  }

  private addGroup(parameters: Iterable<Parameter>, settings: S): void {
    if (this.settingKinds) checkOptions(this.name, settings, this.settingKinds)
    this.checkSettings(settings)
    check(this.name, 'params', parameters, trainedKind)
    const params = [...new Set(parameters)].map((parameter) => this.trainable(parameter))
    if (params.length === 0)
      throw new ShapeError(`${this.name}: a group must have a parameter; received none`)
    const known = new Set(this.paramGroups.flatMap((group) => group.params))
    const twice = params.find((parameter) => known.has(parameter))
    if (twice)
      throw new ShapeError(
        `${this.name}: a parameter must be in one group; received ${showShape(twice.shape)} in two`,
      )
    for (const parameter of params) parameter.requiresGrad = true
    this.paramGroups.push({ ...settings, params })
  }

  private trainable(parameter: Parameter): Tensor {
    if (parameter instanceof QTensor)
      throw new DTypeError(`${this.name}: a frozen weight cannot be trained; received ${parameter}`)
    if (!(parameter instanceof Tensor))
      throw new DTypeError(`${this.name}: parameters must be tensors; received ${show(parameter)}`)
    const received = `received ${parameter}`
    if (!(parameter instanceof Tensor))
      throw new DTypeError(`${this.name}: a frozen weight cannot be trained; ${received}`)
    if (parameter.dtype !== 'float32')
      throw new DTypeError(
        `${this.name}: parameters must be float32 (load the model with dtype: 'float32'); ${received}`,
      )
    if (parameter.isMeta)
      throw new DeviceError(
        `${this.name}: parameters must have memory (initialize or load the model first); ${received}`,
      )
    return parameter
  }

  /** What each setting must be; null where a class of your own has others than `lr` and does not say. */
  protected get settingKinds(): SettingKinds<S> | null {
    return null
  }

  protected get name(): string {
    return this.constructor.name
  }

  /** @throws ShapeError if a setting is out of its range */
  protected checkSettings(settings: S): void {
    const kinds: Readonly<Record<string, Kind>> = this.settingKinds ?? stepKinds
    for (const name in kinds) check(this.name, name, Reflect.get(settings, name), kinds[name])
  }

  /** Changes one parameter; `state.step` counts from 1. */
  protected abstract update(parameter: Tensor, gradient: Tensor, group: S, state: ParameterState): void

  /**
   * Changes every parameter that has a gradient. Nothing waits: the kernels are queued.
   * @throws ShapeError if a setting is out of its range
   */
  step(): void {
    for (const group of this.paramGroups) {
      // Schedules and users change them between steps.
      this.checkSettings(group)
      for (const parameter of group.params) {
        if (!parameter.grad) continue
        const state = this.stateOf(parameter)
        state.step++
        // Before: what is still to be computed of the old values is.
        parameter.changed()
        this.update(parameter, parameter.grad, group, state)
      }
    }
  }

  /** Forgets the gradients; the next `backward` starts from none. */
  zeroGrad(): void {
    for (const { params } of this.paramGroups) {
      for (const parameter of params) {
        parameter.grad?.dispose()
        parameter.grad = null
      }
    }
  }

  private stateOf(parameter: Tensor): ParameterState {
    let state = this.states.get(parameter)
    if (!state) {
      state = { step: 0, tensors: {} }
      this.states.set(parameter, state)
    }
    return state
  }

  /** A tensor that is remembered for a parameter, zero at first. */
  protected remembered(parameter: Tensor, state: ParameterState, name: string): Tensor {
    if (!state.tensors[name]) {
      state.tensors[name] = keep(Tensor.full(parameter.device, parameter.shape, 0))
    }
    return state.tensors[name]
  }

  /** What it remembers; the tensors are its own, not copies. */
  stateDict(): OptimizerState<S> {
    const state: Record<number, ParameterState> = {}
    let index = 0
    const paramGroups = this.paramGroups.map(({ params, ...settings }) => {
      const first = index
      for (const parameter of params) {
        const known = this.states.get(parameter)
        if (known) state[index] = known
        index++
      }
      return { ...(settings as unknown as S), params: params.map((_, i) => first + i) }
    })
    return { state, paramGroups }
  }

  /**
   * Goes on from what another optimizer of the same parameters remembered; its tensors are copied.
   * @throws ShapeError if groups or shapes differ, naming all that do
   */
  loadStateDict({ state, paramGroups }: OptimizerState<S>): void {
    const sizes = (groups: readonly { params: readonly unknown[] }[]) =>
      groups.map(({ params }) => params.length).join(' + ')
    if (sizes(paramGroups) !== sizes(this.paramGroups))
      throw new ShapeError(
        `loadStateDict: groups must hold ${sizes(this.paramGroups)} parameters; received ${sizes(paramGroups) || 'none'}`,
      )
    const parameters = this.paramGroups.flatMap((group) => group.params)
    const wrong = Object.entries(state).flatMap(([index, { tensors }]) =>
      Object.entries(tensors)
        .filter(
          ([, tensor]) =>
            !parameters[Number(index)] || !sameShape(tensor.shape, parameters[Number(index)].shape),
        )
        .map(([name, tensor]) => `${index}.${name} ${showShape(tensor.shape)}`),
    )
    if (wrong.length > 0)
      throw new ShapeError(
        `loadStateDict: tensors must have the shapes of their parameters; received ${wrong.join(', ')}`,
      )
    for (const [i, { params: _, ...settings }] of paramGroups.entries())
      Object.assign(this.paramGroups[i], settings)
    const copies = Object.entries(state).map(([index, { step, tensors }]): [Tensor, ParameterState] => {
      const copied = Object.entries(tensors).map(([name, tensor]) => [
        name,
        keep(noGrad(() => tensor.clone())),
      ])
      return [parameters[Number(index)], { step, tensors: Object.fromEntries(copied) }]
    })
    this.dispose()
    for (const [parameter, copy] of copies) this.states.set(parameter, copy)
  }

  /** Gives back what it remembers, as if it had taken no step; the parameters stay. */
  dispose(): void {
    for (const { tensors } of this.states.values())
      for (const tensor of Object.values(tensors)) tensor.dispose()
    this.states.clear()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
