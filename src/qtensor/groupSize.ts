import type { QType } from '../core/qtype.ts'

/**
 * How many columns share a scale, as quanto decides: for 2 to 4 bits the largest of 128, 96, 64, 32 that
 * divides the columns, where there are more than 128; null where a whole row shares it. Its files do not
 * store it: readers apply the rule again. (quanto itself has no 3 bits.)
 * Source: optimum-quanto 0.2.7, nn/qmodule.py, `QModuleMixin.__init__`.
 */
export function defaultGroupSize(qtype: QType, columns: number): number | null {
  if (qtype.bits === 8 || columns <= 128) return null
  return [128, 96, 64, 32].find((size) => columns % size === 0) ?? null
}
