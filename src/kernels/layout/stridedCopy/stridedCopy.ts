/**
 * y[yOffset + Σ iₖ·yₖ] = x[xOffset + Σ iₖ·xₖ] for all 0 ≤ iₖ < nₖ, k = 0 … 4: permutes, slices, joins,
 * repeats (a stride of 0). Offsets and strides count values of `bytes` bytes.
 * The one copy behind permute, slice, concat, stack and expand, with dimensions joined where they can be.
 * @param x raw values
 * @param y raw values; those not named stay
 */
export function stridedCopy(
  x: Uint8Array,
  y: Uint8Array,
  bytes: number,
  ...[n0, n1, n2, n3, n4, xOffset, x0, x1, x2, x3, x4, yOffset, y0, y1, y2, y3, y4]: number[]
): void {
  for (let i0 = 0; i0 < n0; i0++)
    for (let i1 = 0; i1 < n1; i1++)
      for (let i2 = 0; i2 < n2; i2++)
        for (let i3 = 0; i3 < n3; i3++)
          for (let i4 = 0; i4 < n4; i4++) {
            const from = (xOffset + i0 * x0 + i1 * x1 + i2 * x2 + i3 * x3 + i4 * x4) * bytes
            const to = (yOffset + i0 * y0 + i1 * y1 + i2 * y2 + i3 * y3 + i4 * y4) * bytes
            for (let b = 0; b < bytes; b++) y[to + b] = x[from + b]
          }
}
