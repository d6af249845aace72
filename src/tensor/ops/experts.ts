import { ShapeError } from '../../core/errors.ts'
import { check, wholeNumber } from '../../core/kinds.ts'
import { showShape } from '../../core/shape.ts'
import { op } from '../op.ts'
import { checkDType, checkShape, Tensor } from '../tensor.ts'

/*
 * Which rows go to which of several experts: the ids stay on the device, so that nothing waits for them.
 */

/**
 * The k largest values of each row and their columns, from the largest on; of equals the first comes first.
 * @param x [rows, C] float32
 * @returns [rows, k] float32 and [rows, k] int32
 * @throws ShapeError unless k lies in 1..C
 */
export const topK = op('topK(x, k)', (x: Tensor, k: number): [values: Tensor, indices: Tensor] => {
  const [rows, cols] = checkTopK('topK', x, k)
  const values = Tensor.empty(x.device, [rows, k])
  const indices = Tensor.empty(x.device, [rows, k], 'int32')
  if (rows > 0) x.device.call('topK', { x, values, indices, others: null, rows, cols, k })
  return [values, indices]
})

/**
 * Which values of each row are none of its k largest.
 * @param x [rows, C] float32
 * @returns [rows, C] uint8: 1 for those, else 0
 * @throws ShapeError unless k lies in 1..C
 */
export const belowTopK = op('belowTopK(x, k)', (x: Tensor, k: number): Tensor => {
  const [rows, cols] = checkTopK('belowTopK', x, k)
  const others = Tensor.empty(x.device, [rows, cols], 'uint8')
  if (rows > 0) x.device.call('topK', { x, values: null, indices: null, others, rows, cols, k })
  return others
})

function checkTopK(operation: string, x: Tensor, k: number): [rows: number, cols: number] {
  checkDType(operation, 'x', x, 'float32')
  check(operation, 'k', k, wholeNumber(1))
  const [rows, cols] = x.shape
  if (x.shape.length === 2 && k <= cols) return [rows, cols]
  throw new ShapeError(`${operation}: x must be rows of at least k (${k}) values; x ${showShape(x.shape)}`)
}

/** Rows that go to several groups each, in an order in which every group has its own side by side. */
export interface GroupedRows {
  /** [rows · k] int32: which row each entry is, by group. */
  rows: Tensor
  /** [rows, k] int32: which entry the row is in its s-th group. */
  places: Tensor
  /** [groups + 1] int32: the entries of group g are bounds[g] … bounds[g + 1] − 1. */
  bounds: Tensor
}

/**
 * Brings rows together that go to the same group.
 * @param groups [rows, k] int32, each in 0..count − 1 (checked where they are made: the device does not)
 */
export function groupRows(groups: Tensor, count: number): GroupedRows {
  const [rows, places, bounds] = groupedRows(groups, count)
  return { rows, places, bounds }
}

const groupedRows = op('groupRows(groups, count)', (groups: Tensor, count: number): Tensor[] => {
  checkDType('groupRows', 'groups', groups, 'int32')
  const perRow = groups.size(-1)
  const { device, numel } = groups
  const rows = Tensor.empty(device, [numel], 'int32')
  const places = Tensor.empty(device, groups.shape, 'int32')
  const bounds = Tensor.empty(device, [count + 1], 'int32')
  device.call('groupRows', { groups, rows, places, bounds, count: numel, perRow, groupCount: count })
  return [rows, places, bounds]
})

/**
 * y[r] = Σₛ weights[r, s] · x[places[r, s]].
 * @param x [entries, C] float32
 * @param places [rows, k] int32, each an entry of x (checked where they are made: the device does not)
 * @param weights [rows, k] float32
 * @returns [rows, C] float32
 */
export const combineRows = op(
  'combineRows(x, places, weights)',
  (x: Tensor, places: Tensor, weights: Tensor): Tensor => {
    checkDType('combineRows', 'x', x, 'float32')
    checkDType('combineRows', 'places', places, 'int32')
    checkDType('combineRows', 'weights', weights, 'float32')
    checkShape('combineRows', 'weights', weights, places.shape)
    const [rows, perRow] = places.shape
    const cols = x.size(-1)
    const y = Tensor.empty(x.device, [rows, cols])
    if (y.numel > 0) x.device.call('combineRows', { x, places, weights, y, rows, perRow, cols })
    return y
  },
)
