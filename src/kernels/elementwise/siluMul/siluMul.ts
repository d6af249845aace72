/**
 * y = gate / (1 + e^(−gate)) · up, the gated activation of SwiGLU.
 * Source: Shazeer, "GLU Variants Improve Transformer", 2020.
 * @param gate [count] float32
 * @param up [count] float32
 * @param y [count] float32
 */
export function siluMul(gate: Float32Array, up: Float32Array, y: Float32Array, count: number): void {
  for (let i = 0; i < count; i++) y[i] = (gate[i] / (1 + Math.exp(-gate[i]))) * up[i]
}
