// CIFAR-10's binary layout: a byte for the class, then 3 · 32 · 32 bytes of pixels, channel by channel.
import { type Dataset, type Image, imageFromBytes, type LabelledImage, transforms } from 'lowbit'

const imageBytes = 3 * 32 * 32

/** The means and deviations that the network was trained with. */
const normal = transforms.normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

/** The images of a file's bytes, normalized; `augment` changes each anew whenever it is asked for. */
export function cifar(
  bytes: Uint8Array,
  options: { limit?: number; augment?: (image: Image) => Image } = {},
): Dataset<LabelledImage> {
  const count = bytes.length / (1 + imageBytes)
  if (!Number.isInteger(count))
    throw new Error(`cifar: a file must have ${1 + imageBytes} bytes an image; it has ${bytes.length}`)
  const { limit = count, augment = (image: Image) => image } = options
  return {
    length: Math.min(count, limit),
    get: (index) => {
      const start = index * (1 + imageBytes)
      const image = imageFromBytes(bytes.subarray(start + 1, start + 1 + imageBytes), 3, 32, 32)
      return { image: augment(normal(image)), label: bytes[start] }
    },
  }
}
