import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SavedTensor, TypeMap } from '../../src/checkpoints/stateDict.ts'
import { asDType } from '../../src/core/dtype.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { Conv2d } from '../../src/nn/conv2d.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { LayerNorm } from '../../src/nn/normalization.ts'
import { flatten, relu } from '../../src/tensor/ops/index.ts'
import { scope } from '../../src/tensor/scope.ts'
import type { Tensor } from '../../src/tensor/tensor.ts'

/*
 * The models of test/interop/module_models.py, and what optimum-quanto made of them
 * (scripts/make-module-fixtures.py).
 */

class Block extends Module {
  fc = new Linear(8, 8)

  forward(x: Tensor): Tensor {
    return scope(() => relu(this.fc.forward(x)))
  }
}

/** One block at three places. */
export class Shared extends Module {
  layers: Block[]

  constructor() {
    super()
    const block = new Block()
    this.layers = [block, block, block]
  }

  forward(x: Tensor): Tensor {
    return scope(() => this.layers.reduce((y, layer) => layer.forward(y), x))
  }
}

/** Two layers with one weight. */
export class Tied extends Module {
  a = new Linear(8, 8)
  b = new Linear(8, 8)

  constructor() {
    super()
    this.b.weight = this.a.weight
  }

  forward(x: Tensor): Tensor {
    return scope(() => this.b.forward(relu(this.a.forward(x))))
  }
}

/** A LayerNorm without weight and bias. */
export class Plain extends Module {
  fc1 = new Linear(8, 6)
  norm = new LayerNorm(6, { elementwiseAffine: false })
  fc2 = new Linear(6, 3)

  forward(x: Tensor): Tensor {
    return scope(() => this.fc2.forward(this.norm.forward(this.fc1.forward(x))))
  }
}

/** Layers with one output. */
export class Single extends Module {
  conv = new Conv2d(2, 1, [3, 2])
  head = new Linear(6, 1)

  forward(x: Tensor): Tensor {
    return scope(() => this.head.forward(flatten(relu(this.conv.forward(x)), 1)))
  }
}

const folder = join(import.meta.dirname, '../golden/quanto')
const file = await openSafetensors(await diskFolder(folder).open('modules.safetensors'))
const golden = new Map<string, SavedTensor>()
for (const { name, dtype, shape } of file.tensors.values())
  golden.set(name, { dtype: asDType(dtype), shape, bytes: (await file.read(name)).slice() })
await file.close()

/** quanto's quantization maps. */
export const maps: Record<string, TypeMap> = JSON.parse(readFileSync(join(folder, 'modules.json'), 'utf8'))

/** The state dictionary of a model. */
export function stateOf(name: string): Map<string, SavedTensor> {
  const own = [...golden].filter(
    ([key]) => key.startsWith(`${name}.`) && key !== `${name}.x` && key !== `${name}.output`,
  )
  return new Map(own.map(([key, tensor]) => [key.slice(name.length + 1), tensor]))
}

/** What a model took, or gave. */
export function valuesOf(name: string): { shape: readonly number[]; values: Float32Array } {
  const tensor = golden.get(name)
  if (!tensor) throw new Error(`no golden ${name}`)
  return { shape: tensor.shape, values: new Float32Array(tensor.bytes.slice().buffer) }
}
