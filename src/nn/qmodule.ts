import { DTypeError, ShapeError } from '../core/errors.ts'
import { check, instanceOf, isObject, type Kind, orNull, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../core/options.ts'
import { aQType, type QType } from '../core/qtype.ts'
import { QActivation } from '../qtensor/activation.ts'
import { aComputeDType, type ComputeDType, defaultOutlierThreshold } from '../qtensor/computeDtype.ts'
import type { WeightFacts } from '../qtensor/parts.ts'
import { chooseProduct } from '../qtensor/product.ts'
import { QTensor } from '../qtensor/qtensor.ts'
import {
  aQuantizer,
  type Quantizer,
  type Statistics,
  scaleKinds,
  type WeightRecipe,
} from '../qtensor/quantizer.ts'
import { fakeQuantizeWeight } from '../qtensor/weightBlocks.ts'
import { scope } from '../tensor/scope.ts'
import { needsGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { aModule, Module } from './module.ts'
import { tellComputed } from './observe.ts'
import { Uncalibrated } from './uncalibrated.ts'

/** How a module's weight is, or will be, quantized. */
export interface WeightQuantization extends WeightRecipe {
  readonly quantizer: Quantizer
}

const weightKinds: OptionKinds<WeightQuantization> = {
  qtype: required(aQType),
  groupSize: required(orNull(wholeNumber(1))),
  quantizer: required(aQuantizer),
  ...scaleKinds,
}

const activationKinds: OptionKinds<ActivationQuantization> = {
  qtype: required(orNull(aQType)),
  uncalibrated: required(instanceOf(Uncalibrated, 'be what quantize makes twins with')),
}

/** What a twin of a layer takes over from it. */
export const aLayer: Kind = {
  must: 'be a layer with a weight',
  holds: (value) => isObject(value) && 'weight' in value,
}

/** How a module's activations are quantized. */
export interface ActivationQuantization {
  /** int8 or one of float8; null leaves them float. */
  qtype: QType | null
  /** What happens where a scale was never chosen. */
  uncalibrated: Uncalibrated
}

/** The scales that a quantized module has; the names are those of quanto's files. */
export const activationScales = ['input_scale', 'output_scale'] as const

/** Those that a module computes with: of outputs that stay float there is none. */
export function scalesInUse({ activations, outputQuantized }: QModule): readonly string[] {
  if (!activations) return []
  return outputQuantized ? activationScales : ['input_scale']
}

/**
 * The base of quantized twins: quantizes what the layer takes or gives by one static scale, per tensor.
 * Source: optimum-quanto 0.2.7, nn/qmodule.py, `QModuleMixin`.
 */
export abstract class QModule extends Module {
  /** What inputs and outputs are quantized to; null where they stay float. */
  readonly activations: QType | null
  abstract readonly weight: Tensor | QTensor | null
  abstract readonly bias: Tensor | null
  /**
   * [] float32; null until calibrated, and computed with as 1. Parameters once they are learned
   * (`learnScales`).
   */
  input_scale: Tensor | null = null
  output_scale: Tensor | null = null
  /** Whether outputs are quantized; streamlining turns it off. */
  outputQuantized = true
  private readonly uncalibrated: Uncalibrated

  constructor(activations: ActivationQuantization = floatActivations) {
    super()
    checkOptions(new.target.name, activations, activationKinds)
    this.activations = activations.qtype
    this.uncalibrated = activations.uncalibrated
  }

  override get bufferNames(): readonly string[] {
    return activationScales.filter((name) => !this[name]?.requiresGrad)
  }

  /** Whether the layer takes quantized inputs: where a product with the weight runs in integers. */
  get inputQuantized(): boolean {
    return false
  }

  /** What the weight is quantized to; null where it stays float. */
  get weights(): QType | null {
    return null
  }

  /** The layer's own computation on what may be a quantized activation. */
  protected abstract qforward(x: Tensor): Tensor

  /**
   * The float layer with this weight, and the twin's other parameters; what `dequantize` puts in the twin's
   * place.
   * @throws DTypeError unless the class says it
   */
  floatLayer(_weight: Tensor | null): Module {
    throw new DTypeError(
      `dequantize: ${this.typeName} must say by floatLayer(weight) what layer it stands for`,
    )
  }

  /** As the float layer's, inputs and outputs quantized as the module says. */
  forward(x: Tensor): Tensor {
    return scope(() => {
      const y = this.qforward(this.activations && this.inputQuantized ? this.quantizeInput(x) : x)
      tellComputed(this, y)
      return this.outputQuantized ? this.quantize(y, 'output_scale') : y
    })
  }

  private quantizeInput(x: Tensor): Tensor {
    if (!(x instanceof QActivation)) return this.quantize(x, 'input_scale')
    if (x.qtype === this.activations) {
      if (x.use) x.use.taken = true
      return x
    }
    throw new DTypeError(
      `${this.typeName}: quantized inputs must be ${this.activations?.name}, as the module's; received ${x.qtype.name}`,
    )
  }

  private quantize(x: Tensor, name: (typeof activationScales)[number]): Tensor {
    const { activations } = this
    if (!activations) return x
    const scale = this[name] ?? this.uncalibrated.scale(x.device, this)
    return QActivation.quantize(x, activations, scale)
  }
}

const floatActivations: ActivationQuantization = { qtype: null, uncalibrated: new Uncalibrated() }

/**
 * The base of twins of layers that multiply a weight. Until it is frozen a twin keeps the float weight and
 * quantizes it anew in every forward pass, so that weight and bias train, straight through the rounding;
 * frozen, it holds codes and scales only.
 */
export abstract class QWeightModule extends QModule {
  readonly quantization: WeightQuantization
  weight: Tensor | QTensor
  bias: Tensor | null
  /**
   * The precision of its matrix product, as `setComputeDtype` or a recipe set it; null: float32, but int8 in
   * `generate` and `bench`.
   */
  computeDtype: ComputeDType | null = null
  /**
   * The magnitude from which values of inputs are outliers, where products are computed in `int8Outliers`.
   */
  outlierThreshold = defaultOutlierThreshold
  /** What its quantizer collected in a calibration; null before one, and once the weight is frozen. */
  statistics: Statistics | null = null

  constructor(
    float: { weight: Tensor; bias: Tensor | null },
    quantization: WeightQuantization,
    activations: ActivationQuantization = floatActivations,
  ) {
    check(new.target.name, 'float', float, aLayer)
    checkOptions(new.target.name, quantization, weightKinds)
    super(activations)
    this.quantization = quantization
    this.weight = float.weight
    this.bias = float.bias
  }

  override get weights(): QType {
    return this.quantization.qtype
  }

  get frozen(): boolean {
    return this.weight instanceof QTensor
  }

  /** The names of the kernels that multiply a weight of these facts in the layer's place. */
  kernelFor(weight: WeightFacts): string {
    const x = this.inputQuantized ? this.activations : null
    return chooseProduct(weight, x, this.computeDtype ?? 'float32').kernel
  }

  /**
   * The rows [M, K] of an input that the weight [N, K] multiplies; layers that do not multiply rows have no
   * such method.
   */
  inputRows?(x: Tensor): Tensor

  /** Whether its quantizer collects statistics of its inputs. */
  get collects(): boolean {
    return !this.frozen && this.quantization.quantizer.collects !== undefined && this.inputRows !== undefined
  }

  /** The float weight as it is quantized: a row for each output. */
  outputRows(weight: Tensor): Tensor {
    return weight
  }

  /** The inverse of `outputRows`. */
  fromOutputRows(rows: Tensor): Tensor {
    return rows
  }

  /**
   * The weight as it is, or would be, when frozen.
   * @throws ShapeError if its quantizer has yet to collect statistics
   */
  quantizedWeight(): QTensor {
    const { weight, statistics } = this
    if (weight instanceof QTensor) return weight
    const { qtype, groupSize, quantizer, ...scales } = this.quantization
    if (this.collects && !statistics)
      throw new ShapeError(
        `${this.typeName}: the quantizer ${quantizer.name} must have seen inputs; calibrate(model, run) first`,
      )
    return scope(() =>
      QTensor.quantize(this.outputRows(weight), qtype, groupSize, quantizer, statistics, scales),
    )
  }

  /**
   * The floats that the quantized weight stands for; those of the weight itself while its quantizer has yet
   * to collect statistics. The gradient of a float weight is theirs.
   */
  dequantizedWeight(): Tensor {
    const { weight, statistics } = this
    if (weight instanceof QTensor) return weight.dequantize()
    const { qtype, groupSize, quantizer, ...scales } = this.quantization
    const rows = this.outputRows(weight)
    if (this.collects && !statistics) return rows
    return fakeQuantizeWeight(rows, qtype, groupSize, quantizer, statistics, scales)
  }

  /** The weight as the float layer has it. */
  floatWeight(): Tensor {
    const { weight } = this
    return weight instanceof QTensor ? scope(() => this.fromOutputRows(weight.dequantize())) : weight
  }

  /**
   * What the layer computes with: the quantized weight, or the floats that it stands for where a gradient has
   * to reach a float weight, or its quantizer has yet to collect statistics.
   */
  protected weightInUse(): Tensor | QTensor {
    const { weight, statistics } = this
    const trains = weight instanceof Tensor && needsGrad(weight)
    return trains || (this.collects && !statistics) ? this.dequantizedWeight() : this.quantizedWeight()
  }
}

/**
 * Sets the precision in which all quantized layers of a model compute their products, in whatever call; float
 * layers compute in float32 always. Where it was never set, `forward` and measures of quality compute in
 * float32, `generate` and `bench` in int8.
 */
export function setComputeDtype(model: Module, computeDtype: ComputeDType): void {
  check('setComputeDtype', 'model', model, aModule)
  check('setComputeDtype', 'computeDtype', computeDtype, aComputeDType)
  for (const [, module] of model.namedModules())
    if (module instanceof QWeightModule) module.computeDtype = computeDtype
}
