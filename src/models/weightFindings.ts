import { findBeyond, findNotFinite, hasFloats } from '../formats/finite.ts'
import type { QTensor } from '../qtensor/qtensor.ts'
import { decodeRows, smallestNormal } from '../qtensor/rows.ts'
import { abs, div, reduce } from '../tensor/ops/index.ts'
import { keep, scope } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'

/** What was found of a tensor, or of the model as a whole. */
export interface Finding {
  /** Its path in the model; null of the model as a whole. */
  readonly tensor: string | null
  /** Whether the model does not compute what it should with it. */
  readonly unsound: boolean
  /** A sentence. */
  readonly finding: string
}

/** What of the scales and zero points of a weight is not as it should be, looked at on the device. */
export async function weightFindings(tensor: string, weight: QTensor): Promise<Finding[]> {
  const findings: Finding[] = []
  const { heldScale, qtype } = weight
  const held = 'tensor' in heldScale ? heldScale.dtype : heldScale.valuesDtype
  const scale = scope(() => keep(weight.scale('float32')))
  const reciprocals = scope(() => keep(div(Tensor.full(scale.device, [], 1), abs(scale))))
  try {
    if ((await findBeyond(scale, infinity)) !== null)
      findings.push({ tensor, unsound: true, finding: 'it has scales that are no finite numbers' })
    const zero = await findBeyond(reciprocals, infinity)
    const small = await findBeyond(reciprocals, bitsOf(1 / smallestNormal(held)) + 1)
    if (zero !== null)
      findings.push({
        tensor,
        unsound: false,
        finding: `it has scales of 0, the first of block ${zero}: its weights are 0`,
      })
    else if (small !== null)
      findings.push({
        tensor,
        unsound: false,
        finding: `it has scales too small for all digits of ${held}, the first of block ${small}`,
      })
  } finally {
    scale.dispose()
    reciprocals.dispose()
  }
  const notFinite = await codesNotFinite(weight)
  if (notFinite !== null)
    findings.push({
      tensor,
      unsound: true,
      finding: `its codes must be finite numbers; that of value ${notFinite} is NaN or infinite`,
    })
  const largest = await largestZeroPoint(weight)
  if (largest !== null && largest > qtype.qmax)
    findings.push({
      tensor,
      unsound: true,
      finding: `its zero points must be codes, at most ${qtype.qmax}; one is ${largest}`,
    })
  return findings
}

/** The bits of infinity in float32. */
const infinity = 0x7f800000

function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]
}

/** The place of the first code that is NaN or infinite; null where codes are no such floats. */
async function codesNotFinite(weight: QTensor): Promise<number | null> {
  if (!hasFloats(weight.qtype.dtype)) return null
  const codes = scope(() => keep(weight.codes()))
  return findNotFinite(codes).finally(() => codes.dispose())
}

async function largestZeroPoint(weight: QTensor): Promise<number | null> {
  const largest = scope(() => {
    const values = weight.zeroPoint()
    if (!values) return null
    const one = Tensor.full(values.device, [], 1)
    return keep(reduce('max', decodeRows(values.view([values.numel]), { scale: one }, weight.qtype)))
  })
  if (!largest) return null
  const [value] = await largest.toNumbers().finally(() => largest.dispose())
  return value
}
