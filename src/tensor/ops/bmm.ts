import { ShapeError } from '../../core/errors.ts'
import { numel, type Shape, sameShape, showShape } from '../../core/shape.ts'
import { needsGrad, noGrad, record } from '../tape.ts'
import { checkDType, Tensor } from '../tensor.ts'
import { gemm } from './matmul.ts'

/**
 * y = a · b, matrix by matrix; da = dy · bᵀ, db = aᵀ · dy. Dimensions before the last two are broadcast: missing ones, and those of size 1.
 * @param a [..., M, K] float32
 * @param b [..., K, N] float32
 * @returns [..., M, N] float32
 * @throws ShapeError if the factors do not fit each other.
 */
export function bmm(a: Tensor, b: Tensor): Tensor {
  checkDType('bmm', 'a', a, 'float32')
  checkDType('bmm', 'b', b, 'float32')
  const outer = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2))
  if (a.shape.length < 2 || b.shape.length < 2 || a.size(-1) !== b.size(-2) || !outer) {
    throw new ShapeError(
      `bmm: columns of a must equal rows of b, and the dimensions before the last two broadcast; received a ${showShape(a.shape)}, b ${showShape(b.shape)}`,
    )
  }
  const y = noGrad(() => gemm(matrices(a, outer), matrices(b, outer)).view([...outer, a.size(-2), b.size(-1)]))
  const [aNeeds, bNeeds] = [needsGrad(a), needsGrad(b)]
  return record(y, [a, b], (dy) => {
    const each = matrices(dy, outer)
    return [
      aNeeds ? summedTo(a.shape, gemm(each, matrices(b, outer), { bTransposed: true }), outer) : null,
      bNeeds ? gradientOfRight(a, b, dy, outer) : null,
    ]
  })
}

/** db = Σ aᵀ · dy; a matrix that all products share takes their rows as one. */
function gradientOfRight(a: Tensor, b: Tensor, dy: Tensor, outer: Shape): Tensor {
  if (numel(b.shape) === b.size(-2) * b.size(-1) && sameShape(a.shape.slice(0, -2), outer)) {
    const rows = (x: Tensor) => x.view([1, x.numel / x.size(-1), x.size(-1)])
    return gemm(rows(a), rows(dy), { aTransposed: true }).view(b.shape)
  }
  return summedTo(b.shape, gemm(matrices(a, outer), matrices(dy, outer), { aTransposed: true }), outer)
}

/** The shape that both broadcast to; null if they do not. */
function broadcastShape(a: Shape, b: Shape): Shape | null {
  const rank = Math.max(a.length, b.length)
  const sizes = (shape: Shape) => [...new Array<number>(rank - shape.length).fill(1), ...shape]
  const [aSizes, bSizes] = [sizes(a), sizes(b)]
  const fits = aSizes.every((size, i) => size === bSizes[i] || size === 1 || bSizes[i] === 1)
  return fits ? aSizes.map((size, i) => (size === 1 ? bSizes[i] : size)) : null
}

/** x [..., R, C] as [count, R, C], whose matrices in turn are those of `outer`; copies only where a dimension of size 1 lies inside. */
function matrices(x: Tensor, outer: Shape): Tensor {
  const [R, C] = x.shape.slice(-2)
  const own = withoutLeadingOnes(x.shape.slice(0, -2))
  const flat = x.view([numel(own), R, C])
  if (own.length === 0 || sameShape(own, outer.slice(-own.length))) return flat
  const count = numel(outer)
  const y = Tensor.empty(x.device, [count, R, C])
  for (let i = 0; i < count && R * C > 0; i++) {
    const from = matrixIndex(i, own, outer)
    x.device.call('copy', flat.rows(from, from + 1), y.rows(i, i + 1), R * C * 4)
  }
  return y
}

/** Which matrix of x, whose outer shape is `own`, product i of `outer` takes. */
function matrixIndex(i: number, own: Shape, outer: Shape): number {
  let index = 0
  let stride = 1
  for (let axis = 1; axis <= own.length; axis++) {
    const size = outer[outer.length - axis]
    if (own[own.length - axis] !== 1) {
      index += (i % size) * stride
      stride *= size
    }
    i = Math.floor(i / size)
  }
  return index
}

function withoutLeadingOnes(shape: Shape): Shape {
  const first = shape.findIndex((size) => size !== 1)
  return first < 0 ? [] : shape.slice(first)
}

/** The sum of `gradient` [outer..., R, C] over the dimensions along which a tensor of `shape` was broadcast. */
function summedTo(shape: Shape, gradient: Tensor, outer: Shape): Tensor {
  const own = withoutLeadingOnes(shape.slice(0, -2))
  let sizes: Shape = [...outer, ...shape.slice(-2)]
  let sum = gradient
  for (let axis = 0; axis < outer.length; axis++) {
    const at = axis - (outer.length - own.length)
    if (outer[axis] === 1 || (at >= 0 && own[at] !== 1)) continue
    sum = sumAxis(sum.view(sizes), axis)
    sizes = sum.shape
  }
  return sum.view(shape)
}

/** Σ over one dimension, which stays as 1. */
function sumAxis(x: Tensor, axis: number): Tensor {
  const [before, size] = [numel(x.shape.slice(0, axis)), x.size(axis)]
  const inner = x.numel / (before * size)
  const y = Tensor.empty(x.device, [before, inner])
  const blocks = x.view([before, size * inner])
  for (let i = 0; i < before; i++) x.device.call('columnSum', blocks.rows(i, i + 1), y.rows(i, i + 1), size, inner, 1)
  return y.view(x.shape.with(axis, 1))
}
