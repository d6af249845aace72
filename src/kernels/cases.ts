import { cases as absmaxScale } from './absmaxScale/absmaxScale.cases.ts'
import { cases as argmax } from './argmax/argmax.cases.ts'
import { cases as attention } from './attention/attention.cases.ts'
import { cases as binary } from './binary/binary.cases.ts'
import { cases as cacheWrite } from './cacheWrite/cacheWrite.cases.ts'
import type { KernelCase } from './case.ts'
import { cases as cast } from './cast/cast.cases.ts'
import { cases as copy } from './copy/copy.cases.ts'
import { cases as crossEntropy } from './crossEntropy/crossEntropy.cases.ts'
import { cases as dequantize } from './dequantize/dequantize.cases.ts'
import { cases as embedding } from './embedding/embedding.cases.ts'
import { cases as fill } from './fill/fill.cases.ts'
import { cases as klDivergence } from './klDivergence/klDivergence.cases.ts'
import { cases as matmul } from './matmul/matmul.cases.ts'
import { cases as minmaxScale } from './minmaxScale/minmaxScale.cases.ts'
import { cases as qmatmul } from './qmatmul/qmatmul.cases.ts'
import { cases as quantize } from './quantize/quantize.cases.ts'
import { cases as reduce } from './reduce/reduce.cases.ts'
import { cases as rmsNorm } from './rmsNorm/rmsNorm.cases.ts'
import { cases as rope } from './rope/rope.cases.ts'
import type { KernelName } from './signatures.ts'
import { cases as siluMul } from './siluMul/siluMul.cases.ts'
import { cases as softmax } from './softmax/softmax.cases.ts'
import { cases as tilePack } from './tilePack/tilePack.cases.ts'
import { cases as tileUnpack } from './tileUnpack/tileUnpack.cases.ts'
import { cases as unary } from './unary/unary.cases.ts'

/** The cases of every kernel. */
export const cases: Record<KernelName, readonly KernelCase[]> = {
  copy,
  fill,
  cast,
  binary,
  unary,
  reduce,
  argmax,
  softmax,
  crossEntropy,
  klDivergence,
  siluMul,
  rmsNorm,
  embedding,
  rope,
  cacheWrite,
  attention,
  matmul,
  qmatmul,
  absmaxScale,
  minmaxScale,
  quantize,
  dequantize,
  tilePack,
  tileUnpack,
}
