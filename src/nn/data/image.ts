import { ShapeError } from '../../core/errors.ts'
import { check, checkEach, instanceOf, wholeNumber } from '../../core/kinds.ts'
import { showShape } from '../../core/shape.ts'
import { aDevice, type Device } from '../../devices/device.ts'
import { Tensor } from '../../tensor/tensor.ts'

/** An image in host memory. */
export interface Image {
  /** [channels, height, width] float32 */
  data: Float32Array
  channels: number
  height: number
  width: number
}

/** An image and the number of its class. */
export interface LabelledImage {
  image: Image
  label: number
}

/** A batch of images: x [B, channels, height, width] float32, y [B] int32, the classes. */
export interface ImageBatch {
  x: Tensor
  y: Tensor
}

/**
 * An image of values 0 … 1 from bytes [channels, height, width].
 * @throws ShapeError if their number is not the shape's
 */
export function imageFromBytes(bytes: Uint8Array, channels: number, height: number, width: number): Image {
  check('imageFromBytes', 'bytes', bytes, instanceOf(Uint8Array, 'be a Uint8Array'))
  checkEach('imageFromBytes', { channels, height, width }, wholeNumber(1))
  if (bytes.length !== channels * height * width)
    throw new ShapeError(
      `imageFromBytes: ${showShape([channels, height, width])} must have as many bytes; received ${bytes.length}`,
    )
  const data = new Float32Array(bytes.length)
  for (let i = 0; i < bytes.length; i++) data[i] = bytes[i] / 255
  return { data, channels, height, width }
}

/**
 * Makes batches of labelled images on a device, for `DataLoader`.
 * @throws ShapeError if images differ in shape, or a label lies outside 0 … classes − 1
 */
export function stackImages(
  device: Device,
  classes: number,
): (samples: readonly LabelledImage[]) => ImageBatch {
  check('stackImages', 'device', device, aDevice)
  check('stackImages', 'classes', classes, wholeNumber(1))
  return (samples) => {
    const { channels, height, width } = samples[0].image
    const shape = [channels, height, width]
    const size = channels * height * width
    const pixels = new Float32Array(samples.length * size)
    for (const [i, { image, label }] of samples.entries()) {
      if (image.channels !== channels || image.height !== height || image.width !== width)
        throw new ShapeError(
          `stackImages: images of a batch must have one shape, ${showShape(shape)}; received ${showShape([image.channels, image.height, image.width])}`,
        )
      if (!(Number.isInteger(label) && label >= 0 && label < classes))
        throw new ShapeError(`stackImages: labels must lie in 0..${classes - 1}; received ${label} at ${i}`)
      pixels.set(image.data, i * size)
    }
    const labels = Int32Array.from(samples, ({ label }) => label)
    return {
      x: Tensor.fromArray(device, pixels, [samples.length, ...shape]),
      y: Tensor.fromArray(device, labels),
    }
  }
}
