import { openFile } from '#files'
import { FormatError } from '../core/errors.ts'
import type { GgufValue } from '../formats/ggufWriter.ts'
import { type Importance, type ImportanceMatrix, readImatrix } from '../formats/imatrix.ts'
import type { CausalLM } from './causalLM.ts'
import { ggufFamilyOf } from './families/index.ts'
import { modulesOf, tensorPlace } from './ggufTensors.ts'

/** An importance matrix, or the path or URL of a file that llama.cpp or lowbit wrote. */
export type ImatrixPlace = string | URL | ImportanceMatrix

/** What the columns of a model's weights multiply, as an importance matrix has it. */
export class LayerImportance {
  /** The matrix's file; null where there is none. */
  readonly name: string | null
  readonly matrix: ImportanceMatrix
  /** Names of tensors that were asked for, of blocks, and that it does not have. */
  readonly missing = new Set<string>()
  private readonly modules: ReturnType<typeof modulesOf>

  private constructor(model: CausalLM, matrix: ImportanceMatrix, name: string | null) {
    this.matrix = matrix
    this.name = name
    this.modules = modulesOf(ggufFamilyOf(model), model.config)
  }

  /** @throws FormatError if it is no importance matrix, or of another model */
  static async open(model: CausalLM, place: ImatrixPlace): Promise<LayerImportance> {
    const isPlace = typeof place === 'string' || place instanceof URL
    const matrix = isPlace ? await readImatrix(await openFile(place)) : place
    return new LayerImportance(model, matrix, isPlace ? String(place) : null)
  }

  /**
   * The mean squares [columns] of what the weight of the layer at a path multiplies; null where the matrix has
   * none.
   * @throws FormatError if they are of other columns
   */
  of(path: string, columns: number): Float32Array | null {
    const place = tensorPlace(this.modules, `${path}.weight`)
    if (!place) return null
    const { name, expert } = place
    const found = this.matrix.entries.get(name)
    if (!found) {
      if (name.startsWith('blk.')) this.missing.add(name)
      return null
    }
    return this.means(name, found, columns, expert ?? 0)
  }

  private means(name: string, { sums, counts }: Importance, columns: number, expert: number) {
    const matrices = sums.length / columns
    const count = counts.length === 1 ? counts[0] : counts[expert]
    if (
      !Number.isInteger(matrices) ||
      expert >= matrices ||
      (counts.length > 1 && counts.length !== matrices)
    )
      throw new FormatError(
        `${this.name ?? 'imatrix'}: ${name} must have ${columns} columns, as in the model; it has ${sums.length} numbers`,
        { tensor: name },
      )
    // As llama.cpp takes an expert that no token reached: all columns are alike.
    if (!count) return new Float32Array(columns).fill(1)
    return sums.slice(expert * columns, (expert + 1) * columns).map((sum) => sum / count)
  }

  /** What llama.cpp notes of it in a file. */
  get notes(): ReadonlyMap<string, GgufValue> {
    const { name, matrix } = this
    const { datasets, entries, chunks } = matrix
    return new Map<string, GgufValue>([
      ...(name === null ? [] : [note('file', { type: 'string', value: name })]),
      ...(datasets.length === 0 ? [] : [note('dataset', { type: 'string', value: datasets[0] })]),
      note('entries_count', { type: 'int32', value: entries.size }),
      ...(chunks > 0 ? [note('chunks_count', { type: 'int32', value: chunks })] : []),
    ])
  }
}

function note(key: string, value: GgufValue): [string, GgufValue] {
  return [`quantize.imatrix.${key}`, value]
}
