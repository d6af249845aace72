/** Which halves of a table are to be measured. */
export interface Measures {
  quality: boolean
  speed: boolean
}

/** A row of a table: text by column; '' where a cell was not measured. */
export type Row = Record<string, string>

/** Bytes as megabytes, with a digit more where they are few. */
export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)
}
