import { op } from './op.ts'
import { Tensor } from './tensor.ts'

/** Bytes that one call copies. */
const copiedBytes = 2 ** 30

/**
 * A copy that the system keeps in a file of `folder` while it is short of memory.
 * @throws DeviceError as `Device.allocateOnDisk`
 */
export const copyOnDisk = op(
  'copyOnDisk(x, folder)',
  ({ device, storage, byteOffset, byteLength, ...x }: Tensor, folder: string) => {
    const place = device.allocateOnDisk(folder, byteLength)
    for (let start = 0; start < byteLength; start += copiedBytes)
      device.call('copy', {
        x: { storage, byteOffset: byteOffset + start },
        y: { storage: place, byteOffset: start },
        bytes: Math.min(copiedBytes, byteLength - start),
      })
    return new Tensor(place, x.shape, x.dtype)
  },
)
