/**
 * The four ways a call can fail. Messages read
 * `operation: what must hold, with values; what was received`.
 */

/** Shapes, and other arguments and options, that do not fit each other or the operation. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError'
}

/** A dtype or quantized type that the operation does not take. */
export class DTypeError extends Error {
  override readonly name = 'DTypeError'
}

/** Bytes, JSON or a folder that is not what its format says. */
export class FormatError extends Error {
  override readonly name = 'FormatError'
  /** Where in the file the fault lies, in bytes from its start. */
  readonly byteOffset?: number
  /** The tensor concerned. */
  readonly tensor?: string

  constructor(message: string, where: { byteOffset?: number; tensor?: string; cause?: unknown } = {}) {
    super(message, where.cause === undefined ? undefined : { cause: where.cause })
    if (where.byteOffset !== undefined) this.byteOffset = where.byteOffset
    if (where.tensor !== undefined) this.tensor = where.tensor
  }
}

/** A device that is absent, out of memory, or closed. */
export class DeviceError extends Error {
  override readonly name = 'DeviceError'
}
