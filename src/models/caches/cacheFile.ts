import { openFile, saveFolder } from '#files'
import { FormatError, ShapeError } from '../../core/errors.ts'
import { aString, check, wholeNumber } from '../../core/kinds.ts'
import { checkOptions, type OptionKinds } from '../../core/options.ts'
import { sameShape, showShape } from '../../core/shape.ts'
import { openSafetensors, type SafetensorsFile } from '../../formats/safetensors.ts'
import { writeSafetensors } from '../../formats/safetensorsWriter.ts'
import { aPlace } from '../../formats/source.ts'
import type { TensorToWrite } from '../../formats/tensorFile.ts'
import { slice } from '../../tensor/ops/index.ts'
import { scope } from '../../tensor/scope.ts'
import { copyTo, Tensor } from '../../tensor/tensor.ts'
import { aCausalLM, type CausalLM } from '../causalLM.ts'
import { digest, modelDigest } from '../modelDigest.ts'
import { type HeldTensor, mapLayer } from './cacheKind.ts'
import { type CacheType, caches } from './index.ts'
import { aCache, type KVCache } from './kvCache.ts'

/*
 * A cache in a safetensors file: what each layer holds of the tokens that are there, and in the metadata what
 * they are and which model computed them. A cache of the same model may have room for more tokens.
 */

const format = 'lowbit.cache'

/** How a cache is loaded. */
export interface LoadCacheOptions {
  /** Tokens it can hold then; default: as many as the saved one could. */
  capacity?: number
}

const optionKinds: OptionKinds<LoadCacheOptions> = { capacity: wholeNumber(1) }

/** Writes what a cache of this model holds to a safetensors file, which is there only once it is whole. */
export async function saveCache(model: CausalLM, cache: KVCache, target: string): Promise<void> {
  check('saveCache', 'model', model, aCausalLM)
  check('saveCache', 'cache', cache, aCache)
  check('saveCache', 'target', target, aString)
  const tensors: TensorToWrite[] = []
  for (const { name, tensor, held } of heldTensors(cache)) {
    const rows = rowsOf(tensor, held, cache.length)
    const { dtype, shape } = tensor
    const bytes = async () => {
      const part = scope(() => slice(tensor, 2, 0, rows))
      return part.readBytes().finally(() => part.dispose())
    }
    tensors.push({ name, dtype, shape: shape.with(2, rows), bytes })
  }
  const { kv, residual } = kindOf(cache)
  const metadata = {
    ...{ format, kv, residual: String(residual), capacity: String(cache.capacity) },
    ...{ lengths: JSON.stringify([...cache.lengths]), tokens: JSON.stringify(cache.tokenIds) },
    furthest: JSON.stringify(cache.furthest),
    model: await fingerprint(model),
  }
  const name = 'cache.safetensors'
  await saveFolder(
    target,
    async (folder) => {
      const sink = await folder.create(name)
      await writeSafetensors(sink, tensors, metadata).finally(() => sink.close())
    },
    { file: name },
  )
}

/**
 * A cache as it was saved, for the model that it was saved for.
 * @throws FormatError if the file is no such cache, or of another model; ShapeError if `capacity` is too small
 */
export async function loadCache(
  model: CausalLM,
  place: string | URL,
  options: LoadCacheOptions = {},
): Promise<KVCache> {
  check('loadCache', 'model', model, aCausalLM)
  check('loadCache', 'place', place, aPlace)
  checkOptions('loadCache', options, optionKinds)
  const file = await openSafetensors(await openFile(place))
  try {
    const saved = await savedFacts(file, model)
    const { kv, residual, lengths } = saved
    const { capacity = saved.capacity } = options
    const longest = Math.max(...lengths)
    if (longest > capacity)
      throw new ShapeError(`loadCache: the cache holds ${longest} tokens; received a capacity of ${capacity}`)
    const cache = model.createCache(capacity, { kv, residual, batch: lengths.length })
    try {
      for (const { name, tensor, held } of heldTensors(cache))
        await fill(file, name, tensor, rowsOf(tensor, held, longest))
    } catch (error) {
      cache.dispose()
      throw error
    }
    const { furthest, tokens } = saved
    cache.restore(
      lengths.map((length, b) => ({ length, furthest: length === 0 ? 0 : furthest, ids: tokens[b] ?? [] })),
      model,
    )
    return cache
  } finally {
    await file.close()
  }
}

/** Every tensor of a cache, under its name in files. */
function heldTensors({ kind, layers }: KVCache): { name: string; tensor: Tensor; held: HeldTensor }[] {
  return layers.flatMap(({ shape, tensors }, i) => {
    const named = new Map<string, HeldTensor>()
    mapLayer(kind.layer(shape), (held, name) => named.set(name, held))
    const found: { name: string; tensor: Tensor; held: HeldTensor }[] = []
    mapLayer(tensors, (tensor, name) =>
      found.push({ name: `layers.${i}.${name}`, tensor, held: named.get(name) as HeldTensor }),
    )
    return found
  })
}

/** How many rows serve the first `tokens` tokens. */
function rowsOf(tensor: Tensor, { rowTokens = 1 }: HeldTensor, tokens: number): number {
  return Math.min(tensor.size(2), Math.ceil(tokens / rowTokens))
}

function kindOf({ kind, layers }: KVCache): { kv: CacheType; residual: number } {
  const found = Object.entries(caches).find(([, one]) => one === kind)
  if (!found) throw new ShapeError('saveCache: the cache must be of a kind that has a name; it has none')
  return { kv: found[0] as CacheType, residual: layers[0].shape.residual }
}

/** Puts the first rows of a tensor [B, H, rows, …] there from the file. */
async function fill(file: SafetensorsFile, name: string, tensor: Tensor, rows: number): Promise<void> {
  const shape = tensor.shape.with(2, rows)
  const info = file.tensors.get(name)
  if (info?.dtype !== tensor.dtype || !sameShape(info.shape, shape)) {
    const received = info ? `${info.dtype} ${showShape(info.shape)}` : 'none'
    throw new FormatError(
      `${file.name}: tensor "${name}" must be ${tensor.dtype} ${showShape(shape)}; it is ${received}`,
      { tensor: name },
    )
  }
  const [B, H, all, ...rest] = tensor.shape
  const bytes = await file.read(name)
  scope(() => {
    const part = Tensor.empty(tensor.device, [B * H, rows, ...rest], tensor.dtype)
    if (part.numel === 0) return
    part.write(bytes)
    const whole = tensor.view([B * H, all, ...rest])
    for (let i = 0; i < B * H; i++) {
      const place = whole
        .rows(i, i + 1)
        .view([all, ...rest])
        .rows(0, rows)
      copyTo(part.rows(i, i + 1).view(place.shape), place)
    }
  })
}

/** What the metadata say. */
async function savedFacts(file: SafetensorsFile, model: CausalLM) {
  const { texts, name } = file
  if (texts.get('format') !== format)
    throw new FormatError(`${name}: must be a cache, as saveCache writes it; it is another file`)
  const expected = await fingerprint(model)
  if (texts.get('model') !== expected)
    throw new FormatError(
      `${name}: must be a cache of this model, ${expected}; it is one of ${texts.get('model')}`,
    )
  const number = (key: string) => Number(texts.get(key))
  const kv = texts.get('kv') as CacheType
  const [lengths, tokens] = ['lengths', 'tokens'].map((key) => parsed(texts.get(key)))
  const [capacity, residual, furthest] = [number('capacity'), number('residual'), number('furthest')]
  const isList = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((value) => Number.isSafeInteger(value) && value >= 0)
  const sound =
    Object.hasOwn(caches, kv) &&
    isList([capacity, residual, furthest]) &&
    capacity > 0 &&
    isList(lengths) &&
    lengths.length > 0 &&
    Array.isArray(tokens) &&
    tokens.every(isList) &&
    lengths.every((length, b) => length <= Math.min(capacity, furthest) && (tokens[b]?.length ?? 0) <= length)
  if (!sound) throw new FormatError(`${name}: the metadata of a cache must be those that saveCache writes`)
  return { kv, capacity, residual, furthest, lengths: lengths as number[], tokens: tokens as number[][] }
}

function parsed(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? 'null')
  } catch {
    return null
  }
}

/** Tokens whose embedding tells a model from others of the same shape. */
const probes = 16

/** A model's class, and a hash of it, and of what some tokens are embedded as. */
async function fingerprint(model: CausalLM): Promise<string> {
  const ids = Int32Array.from({ length: probes }, (_, i) => (i * 7919) % model.config.vocabularySize)
  const embedded = scope(() => model.tokenEmbedding.forward(Tensor.fromArray(model.device, ids)))
  const values = await digest(await embedded.readBytes().finally(() => embedded.dispose()))
  const hash = [JSON.stringify(model.config), values, await modelDigest(model)]
  return `${model.typeName} ${(await digest(hash.join('\n'))).slice(0, 16)}`
}
