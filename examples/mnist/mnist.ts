// MNIST as Yann LeCun's files have it: idx, gzipped or not.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type Dataset, type Image, imageFromBytes, type LabelledImage, transforms } from 'lowbit'

/** Where `npm run examples:data` puts it. */
export const fetched = join(
  process.env.LOWBIT_CACHE ?? join(import.meta.dirname, '../../.cache'),
  'data/mnist',
)

/**
 * The first `limit` images of a part of MNIST in `folder`, normal over the training images:
 * (x / 255 − 0.1307) / 0.3081.
 */
export async function mnist(
  folder: string,
  part: 'train' | 't10k',
  limit = Infinity,
): Promise<Dataset<LabelledImage>> {
  const images = await idx(join(folder, `${part}-images-idx3-ubyte`), 3)
  const labels = await idx(join(folder, `${part}-labels-idx1-ubyte`), 1)
  const [count, height, width] = images.sizes
  const size = height * width
  const normal = transforms.normalize([0.1307], [0.3081])
  const image = (index: number) =>
    normal(imageFromBytes(images.bytes.subarray(index * size, (index + 1) * size), 1, height, width))
  // Made when first asked for, and kept: later passes only copy.
  const made: Image[] = []
  const get = (index: number) => {
    made[index] ??= image(index)
    return { image: made[index], label: labels.bytes[index] }
  }
  return { length: Math.min(count, limit), get }
}

/** An idx file: 0, 0, 8 (bytes), the number of dimensions; their sizes, big-endian; the bytes. */
async function idx(path: string, dimensions: number): Promise<{ sizes: number[]; bytes: Uint8Array }> {
  const packed = await readFile(path).catch(() => readFile(`${path}.gz`))
  const file = packed[0] === 0x1f ? gunzipSync(packed) : packed
  const view = new DataView(file.buffer, file.byteOffset)
  if (view.getUint32(0) !== 0x800 + dimensions)
    throw new Error(`mnist: ${path} must be idx of ${dimensions} dimensions of bytes`)
  const sizes = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i))
  const bytes = file.subarray(4 + 4 * dimensions)
  if (bytes.length !== sizes.reduce((a, b) => a * b))
    throw new Error(`mnist: ${path} must have ${sizes.join('·')} bytes; it has ${bytes.length}`)
  return { sizes, bytes }
}
