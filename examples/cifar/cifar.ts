// CIFAR-10's binary layout: a byte for the class, then 3 · 32 · 32 bytes of pixels, channel by channel.
import { type Dataset, type Image, imageFromBytes, type LabelledImage, transforms } from 'lowbit'

const pixelBytes = 3 * 32 * 32

/** Bytes of an image, with its class. */
export const imageBytes = 1 + pixelBytes

/** The means and deviations that the network was trained with. */
const normal = transforms.normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

/** The images of a file's bytes, normalized; `augment` changes each anew whenever it is asked for. */
export function cifar(
  bytes: Uint8Array,
  options: { limit?: number; augment?: (image: Image) => Image } = {},
): Dataset<LabelledImage> {
  const count = bytes.length / imageBytes
  if (!Number.isInteger(count))
    throw new Error(`cifar: a file must have ${imageBytes} bytes an image; it has ${bytes.length}`)
  const { limit = count, augment = (image: Image) => image } = options
  return {
    length: Math.min(count, limit),
    get: (index) => {
      const start = index * imageBytes
      const image = imageFromBytes(bytes.subarray(start + 1, start + imageBytes), 3, 32, 32)
      return { image: augment(normal(image)), label: bytes[start] }
    },
  }
}
