// CIFAR-10's binary layout: a byte for the class, then 3 · 32 · 32 bytes of pixels, channel by channel.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Dataset, type Image, imageFromBytes, type LabelledImage, transforms } from 'lowbit'

const imageBytes = 3 * 32 * 32

/** The means and deviations that the network was trained with. */
const normal = transforms.normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

/** The images of a file, normalized; `augment` changes each anew whenever it is asked for. */
export async function cifar(
  path: string,
  options: { limit?: number; augment?: (image: Image) => Image } = {},
): Promise<Dataset<LabelledImage>> {
  const bytes = await readFile(path).catch(() => {
    throw new Error(`cifar: there must be a file ${path}; LOWBIT_DATA names the folder above cifar10/`)
  })
  const count = bytes.length / (1 + imageBytes)
  if (!Number.isInteger(count)) throw new Error(`cifar: ${path} must have ${1 + imageBytes} bytes an image; it has ${bytes.length}`)
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

/** Data sets and models: LOWBIT_DATA and LOWBIT_MODELS, else ../shared beside the repository. */
export const data = process.env.LOWBIT_DATA ?? join(import.meta.dirname, '../../../shared/data')
export const models = process.env.LOWBIT_MODELS ?? join(import.meta.dirname, '../../../shared/models')
