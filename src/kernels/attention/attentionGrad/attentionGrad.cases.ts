import type { KernelArg, KernelCase } from '../../case.ts'
import { epsilon, inBfloat16, normals, replaced } from '../../inputs.ts'
import { attention } from '../attention/attention.ts'

type Args = [...Float32Array[], number, number, number, number, number, number]

/**
 * A probability errs relatively by c·ε·(1 + scale·‖q‖·max‖k‖), as in attention.cases.ts; dy·v − dy·y by
 * c·ε·‖dy‖·(‖v‖ + ‖y‖). Both go into ds, and every output is a sum of such terms, whose magnitudes are summed
 * here. c = 4.
 */
function tolerance(args: readonly KernelArg[], output: number): Float64Array {
  const [q, k, v, y, dy] = args.slice(0, 5) as Float32Array[]
  const [batch, tokens, heads, kvHeads, D, scale] = args.slice(8) as number[]
  const norm = (x: Float32Array, at: number) => Math.hypot(...x.subarray(at, at + D))
  let largestKey = 0
  for (let at = 0; at < k.length; at += D) largestKey = Math.max(largestKey, norm(k, at))
  const bound = new Float64Array(output === 5 ? q.length : k.length)
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < tokens; t++) {
        const at = ((b * tokens + t) * heads + h) * D
        const head = (b * kvHeads + Math.floor((h * kvHeads) / heads)) * tokens * D
        const relative = 4 * epsilon * (1 + scale * norm(q, at) * largestKey)
        const scores = Array.from(
          { length: t + 1 },
          (_, s) =>
            scale * q.subarray(at, at + D).reduce((sum, one, d) => sum + one * k[head + s * D + d], 0),
        )
        const max = Math.max(...scores)
        const total = scores.reduce((sum, score) => sum + Math.exp(score - max), 0)
        for (let s = 0; s <= t; s++) {
          const key = head + s * D
          const p = (relative * Math.exp(scores[s] - max)) / total
          const ds = scale * p * norm(dy, at) * (norm(v, key) + norm(y, at))
          for (let d = 0; d < D; d++) {
            if (output === 5) bound[at + d] += ds * Math.abs(k[key + d])
            else bound[key + d] += output === 6 ? ds * Math.abs(q[at + d]) : p * Math.abs(dy[at + d])
          }
        }
      }
  return bound
}

function gradCase(
  batch: number,
  tokens: number,
  heads: number,
  kvHeads: number,
  headSize: number,
): KernelCase {
  const scale = Math.fround(1 / Math.sqrt(headSize))
  return {
    name: `batch=${batch} tokens=${tokens} heads=${heads}/${kvHeads} headSize=${headSize}`,
    args(random): KernelArg[] {
      const [queries, keys] = [heads, kvHeads].map((count) => batch * tokens * count * headSize)
      const [q, k, v, y] = [queries, keys, keys, queries].map((count) => normals(random, count))
      attention(q, k, v, y, batch, tokens, heads, kvHeads, headSize, 0, tokens, scale)
      const outputs = [queries, keys, keys].map((count) => new Float32Array(count))
      return [
        q,
        k,
        v,
        y,
        normals(random, queries),
        ...outputs,
        batch,
        tokens,
        heads,
        kvHeads,
        headSize,
        scale,
      ] satisfies Args
    },
    tolerance,
    defects: {
      'dy in bfloat16': (args) => replaced(args, 4, inBfloat16(args[4] as Float32Array)),
      // One key alone has weight 1, whatever the query.
      ...(tokens > 1 && {
        'scale off by a thousandth': (args: KernelArg[]) => replaced(args, 13, scale * 1.001),
      }),
    },
  }
}

export const cases: KernelCase[] = [
  gradCase(1, 1, 1, 1, 8),
  gradCase(2, 5, 3, 3, 7),
  gradCase(1, 19, 4, 2, 64),
  gradCase(2, 33, 6, 1, 46),
]
