import { FormatError } from '../../core/errors.ts'
import { qfloat8_e4m3fn } from '../../core/qtype.ts'
import { type Block, blocksShape, matrixShape, showBlock } from '../../qtensor/parts.ts'
import type { FloatLayer, LayerToWrite, SchemeWriter, WeightKind } from './scheme.ts'
import { weightPart } from './writing.ts'

/** Writes models as transformers saves those that its fine-grained float8 quantized. */
export const fp8Writer: SchemeWriter = {
  types: [qfloat8_e4m3fn],
  reads: ['Linear'],
  targets: {
    fp8: {
      ...{
        weights: qfloat8_e4m3fn,
        groupSize: 128,
        blockRows: 128,
        algorithm: 'minmax',
        scaleDtype: 'float32',
      },
      // All tiles of a file have one size, which a tile of a whole weight is not.
      holds: ({ block, shape }) =>
        block.kind === 'tile' && (block.rows < shape[0] || block.columns < shape[1]),
    },
  },
  refuses: refusal,
  // transformers multiplies in float32 and casts to the model's dtype.
  roundsAlike: () => false,
  parts: ({ weight }) => {
    if (!weight) return []
    const { shape, block } = weight
    return [
      weightPart('weight', 'float8_e4m3fn', shape, (values) => values.codes()),
      weightPart('weight_scale_inv', 'float32', blocksShape(block, shape), (values) =>
        values.scale('float32'),
      ),
    ]
  },
  repeats: () => true,
  settings: (layers, floats) => ({ quantizationConfig: configOf([...layers.values()], floats) }),
  limits: () => [],
}

function refusal({ qtype, block, shape, offset, scaleDtype, reordered }: WeightKind): string | null {
  if (qtype !== qfloat8_e4m3fn || offset !== null || reordered)
    return `it is ${qtype.name}, and fp8 takes float8_e4m3fn with scales alone`
  if (block.kind !== 'tile') return `it has ${showBlock(block, shape)}, and fp8 takes tiles`
  const [N, K] = matrixShape(shape)
  const fits = (size: number, tile: number) => size <= tile || size % tile === 0
  if (!fits(N, block.rows) || !fits(K, block.columns))
    return `it has ${showBlock(block, shape)}, and transformers takes those that divide rows and columns`
  return scaleDtype === null ? 'its scales are quantized once more, and fp8 takes plain ones' : null
}

/** @throws FormatError where layers have tiles of different sizes */
function configOf(layers: readonly LayerToWrite[], floats: readonly FloatLayer[]): Record<string, unknown> {
  const quantized = layers.filter(({ weight }) => weight !== null)
  const tiles = quantized.map(({ weight }) => weight?.block as Block & { kind: 'tile' })
  const [{ rows, columns } = { rows: 128, columns: 128 }] = tiles
  const other = tiles.findIndex((tile) => tile.rows !== rows || tile.columns !== columns)
  if (other >= 0) {
    const found = showBlock(tiles[other], quantized[other].weight?.shape ?? [])
    throw new FormatError(
      `save: fp8 takes tiles of one size; ${quantized[0].path} has ${rows} × ${columns}, ${quantized[other].path} ${found}`,
    )
  }
  const left = [...floats.filter(isLinear), ...layers.filter(({ weight }) => weight === null)]
  return {
    activation_scheme: 'dynamic',
    modules_to_not_convert: left.map(({ path }) => path),
    quant_method: 'fp8',
    weight_block_size: [rows, columns],
  }
}

function isLinear({ typeName }: FloatLayer): boolean {
  return typeName === 'Linear'
}
