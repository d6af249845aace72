import { ShapeError } from '../../core/errors.ts'
import { aBoolean, aFunction, check, type Kind, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds, required } from '../../core/options.ts'
import { Random } from '../../core/random.ts'
import { ownedIn } from '../../tensor/scope.ts'

/** Samples by number; `get` may have to wait for a file. */
export interface Dataset<Sample> {
  readonly length: number
  get(index: number): Sample | Promise<Sample>
}

/** How a data set is cut into batches. */
export interface LoaderOptions<Sample, Batch> {
  /** Default 1. */
  batchSize?: number
  /** Whether every pass takes the samples in another order; default false. */
  shuffle?: boolean
  /** Of the orders: the same seed gives the same passes; default 0. */
  seed?: number
  /** Whether an incomplete last batch is left out; default false. */
  dropLast?: boolean
  /** Makes a batch of samples. */
  collate: (samples: Sample[]) => Batch
}

const optionKinds: OptionKinds<LoaderOptions<never, unknown>> = {
  batchSize: wholeNumber(1),
  shuffle: aBoolean,
  seed: wholeNumber(-Infinity),
  dropLast: aBoolean,
  collate: required(aFunction),
}

const aDataset: Kind = {
  must: 'be a data set with length and get(index)',
  holds: (value) =>
    typeof value === 'object' &&
    value !== null &&
    'get' in value &&
    'length' in value &&
    Number.isInteger(value.length),
}

/**
 * Passes over a data set in batches: `for await (const batch of loader)`. The tensors of a batch are disposed
 * when the next one is asked for.
 * Source: the interface of torch.utils.data.DataLoader.
 */
export class DataLoader<Sample, Batch = Sample[]> implements AsyncIterable<Batch> {
  readonly dataset: Dataset<Sample>
  private readonly options: Required<LoaderOptions<Sample, Batch>>
  private readonly random: Random

  /** @throws ShapeError if the data set has not one batch */
  constructor(dataset: Dataset<Sample>, options: LoaderOptions<Sample, Batch>) {
    check('DataLoader', 'dataset', dataset, aDataset)
    checkOptions<LoaderOptions<never, unknown>>('DataLoader', options, optionKinds)
    this.dataset = dataset
    this.options = { batchSize: 1, shuffle: false, seed: 0, dropLast: false, ...options }
    this.random = new Random(this.options.seed)
    if (this.length === 0)
      throw new ShapeError(
        `DataLoader: the data set must fill a batch of ${this.options.batchSize}; received ${dataset.length} samples`,
      )
  }

  /** How many batches a pass has. */
  get length(): number {
    const { batchSize, dropLast } = this.options
    return (dropLast ? Math.floor : Math.ceil)(this.dataset.length / batchSize)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    const { batchSize, shuffle, collate } = this.options
    const order = shuffle ? permutation(this.dataset.length, this.random) : undefined
    for (let i = 0; i < this.length; i++) {
      const samples: Sample[] = []
      for (let at = i * batchSize; at < Math.min((i + 1) * batchSize, this.dataset.length); at++) {
        const sample = this.dataset.get(order ? order[at] : at)
        samples.push(sample instanceof Promise ? await sample : sample)
      }
      const batch = collate(samples)
      try {
        yield batch
      } finally {
        for (const owned of ownedIn(batch)) owned.dispose()
      }
    }
  }
}

/**
 * The numbers 0 … count − 1 in random order: from the last on, each is exchanged with one before it or
 * itself, ⌊u · (i + 1)⌋.
 * Source: Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2P.
 */
export function permutation(count: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const other = Math.floor(random.uniform() * (i + 1))
    const value = order[i]
    order[i] = order[other]
    order[other] = value
  }
  return order
}
