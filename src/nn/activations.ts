import { aNumber, check, wholeNumber } from '../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../core/options.ts'
import { approximations } from '../tensor/ops/elementwise.ts'
import {
  clamp,
  gelu,
  leakyRelu,
  logSoftmax,
  mul,
  relu,
  sigmoid,
  silu,
  softmax,
  tanh,
} from '../tensor/ops/index.ts'
import { scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { Module } from './module.ts'

/*
 * Activations as layers, named and printed as PyTorch's.
 */

/** y = max(x, 0). */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return relu(x)
  }
}

/** y = max(x, 0) + negativeSlope · min(x, 0). */
export class LeakyReLU extends Module {
  readonly negativeSlope: number

  constructor(negativeSlope = 0.01) {
    super()
    check('LeakyReLU', 'negativeSlope', negativeSlope, aNumber)
    this.negativeSlope = negativeSlope
  }

  override extraRepr(): string {
    return `negative_slope=${this.negativeSlope}`
  }

  forward(x: Tensor): Tensor {
    return leakyRelu(x, this.negativeSlope)
  }
}

/** How a GELU is computed. */
export interface GELUOptions {
  /** By tanh, or not at all; default `none`. */
  approximate?: 'none' | 'tanh'
}

const geluKinds: OptionKinds<GELUOptions> = { approximate: approximations }
const axis = wholeNumber(-Infinity)

/** y = x·Φ(x), or its approximation by tanh. */
export class GELU extends Module {
  readonly approximate: 'none' | 'tanh'

  constructor(options: GELUOptions = {}) {
    super()
    checkOptions('GELU', options, geluKinds)
    this.approximate = options.approximate ?? 'none'
  }

  override extraRepr(): string {
    return `approximate='${this.approximate}'`
  }

  forward(x: Tensor): Tensor {
    return gelu(x, this.approximate)
  }
}

/** y = x / (1 + e⁻ˣ). */
export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    return silu(x)
  }
}

/** y = 1 / (1 + e⁻ˣ). */
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return sigmoid(x)
  }
}

/** y = tanh x. */
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return tanh(x)
  }
}

/** y = softmax(x) over axis `dim`. */
export class Softmax extends Module {
  readonly dim: number

  constructor(dim = -1) {
    super()
    check('Softmax', 'dim', dim, axis)
    this.dim = dim
  }

  override extraRepr(): string {
    return `dim=${this.dim}`
  }

  forward(x: Tensor): Tensor {
    return softmax(x, this.dim)
  }
}

/** y = log softmax(x) over axis `dim`. */
export class LogSoftmax extends Module {
  readonly dim: number

  constructor(dim = -1) {
    super()
    check('LogSoftmax', 'dim', dim, axis)
    this.dim = dim
  }

  override extraRepr(): string {
    return `dim=${this.dim}`
  }

  forward(x: Tensor): Tensor {
    return logSoftmax(x, this.dim)
  }
}

const tanhGelu = (x: Tensor) => gelu(x, 'tanh')

/** Activations by the names that config.json files call them, transformers' `ACT2FN`. */
export const activations = {
  gelu: (x: Tensor) => gelu(x),
  gelu_10: (x: Tensor) => scope(() => clamp(gelu(x), -10, 10)),
  gelu_accurate: tanhGelu,
  gelu_fast: tanhGelu,
  gelu_new: tanhGelu,
  gelu_python: (x: Tensor) => gelu(x),
  gelu_python_tanh: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  leaky_relu: (x: Tensor) => leakyRelu(x),
  linear: (x: Tensor) => x,
  quick_gelu: (x: Tensor) => scope(() => mul(x, sigmoid(mul(x, 1.702)))),
  relu: (x: Tensor) => relu(x),
  relu2: (x: Tensor) => scope(() => square(relu(x))),
  relu6: (x: Tensor) => clamp(x, 0, 6),
  sigmoid: (x: Tensor) => sigmoid(x),
  silu,
  swish: silu,
  tanh: (x: Tensor) => tanh(x),
} as const

/** The name of an activation in a config.json. */
export type ActivationName = keyof typeof activations

const square = (x: Tensor) => mul(x, x)
