// Images that are calibrated on must not be those that are measured with.
import { imageBytes } from './cifar.ts'

/**
 * The numbers of images of which no test image is a near copy: where the mean distance of their pixels, each
 * less the image's own mean, is above 12 of 255: copies that were compressed anew lie below 10, all others above 15.
 */
export function withoutCopies(images: Uint8Array, test: Uint8Array): number[] {
  const centred = (bytes: Uint8Array) =>
    Array.from({ length: bytes.length / imageBytes }, (_, i) => {
      const pixels = Float32Array.from(bytes.subarray(i * imageBytes + 1, (i + 1) * imageBytes))
      const mean = pixels.reduce((sum, value) => sum + value, 0) / pixels.length
      return pixels.map((value) => value - mean)
    })
  const others = centred(test)
  const isCopy = (image: Float32Array) =>
    others.some(
      (other) => image.reduce((sum, value, i) => sum + Math.abs(value - other[i]), 0) / image.length < 12,
    )
  return centred(images).flatMap((image, i) => (isCopy(image) ? [] : [i]))
}
