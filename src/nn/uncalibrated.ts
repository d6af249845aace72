import { DTypeError } from '../core/errors.ts'
import type { Device } from '../devices/device.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { QModule } from './qmodule.ts'

/**
 * What modules that were quantized together do where an activation has no scale yet: warn once and take 1, as
 * quanto does, or refuse.
 */
export class Uncalibrated {
  private readonly strict: boolean
  private readonly modules: [path: string, module: QModule][] = []
  private warned = false

  constructor(options: { strict?: boolean } = {}) {
    this.strict = options.strict ?? false
  }

  add(path: string, module: QModule): void {
    this.modules.push([path, module])
  }

  /**
   * The scale 1, for `module`, which has none.
   * @throws DTypeError if strict
   */
  scale(device: Device, module: QModule): Tensor {
    if (this.strict)
      throw new DTypeError(
        `forward: activations must be calibrated (strict); ${this.pathOf(module)} has no scale yet`,
      )
    if (!this.warned)
      console.warn(
        `lowbit: activations were never calibrated and are rounded to whole numbers: ${this.list()}`,
      )
    this.warned = true
    return Tensor.full(device, [], 1)
  }

  private pathOf(module: QModule): string {
    return this.modules.find(([, other]) => other === module)?.[0] || module.typeName
  }

  private list(): string {
    const paths = this.modules
      .filter(([, { input_scale, output_scale }]) => !input_scale && !output_scale)
      .map(([path]) => path)
    return paths.length > 0 ? paths.join(', ') : 'a module without a name'
  }
}
