import { aFloatDType, type FloatDType } from '../core/dtype.ts'
import { check } from '../core/kinds.ts'
import type { Device } from '../devices/device.ts'
import { withoutCache } from '../nn/attentionCache.ts'
import type { EmbeddingLike, LinearLike } from '../nn/layerLike.ts'
import { Linear } from '../nn/linear.ts'
import { mul, type Position, tanh } from '../tensor/ops/index.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { KVCache } from './caches/kvCache.ts'
import { aConfig, CausalLM, type CausalLMConfig } from './causalLM.ts'
import type { Decoder } from './decoder.ts'

/** What becomes of the logits that the head gives. */
export interface LogitOptions {
  /** Multiplies them; default 1. */
  logitScale?: number
  /** Bounds them, after the scale: softcap · tanh(logit / softcap). */
  finalSoftcap?: number
  /** Whether the head adds a bias; default false. */
  headBias?: boolean
}

/** A decoder with its language-model head, which may share the embedding's weight: token ids → logits. */
export abstract class DecoderLM<C extends CausalLMConfig = CausalLMConfig> extends CausalLM {
  readonly config: C
  readonly decoder: Decoder
  lm_head: LinearLike
  private readonly decoderName: string
  private readonly logitOptions: LogitOptions

  /**
   * @param decoder makes the decoder of a config, without weights
   * @param decoderName what paths call it: `model`, `transformer`
   */
  constructor(
    config: C,
    dtype: FloatDType,
    decoder: (config: C, dtype: FloatDType) => Decoder,
    decoderName: string,
    logitOptions: LogitOptions = {},
  ) {
    super()
    check(new.target.name, 'config', config, aConfig)
    check(new.target.name, 'dtype', dtype, aFloatDType)
    this.config = config
    this.decoderName = decoderName
    this.logitOptions = logitOptions
    this.eosTokenIds = config.eosTokenIds
    this.decoder = decoder(config, dtype)
    const { weight } = this.tokenEmbedding
    // As wide as the embedding, which may be projected to and from the layers' size.
    const [vocabularySize, width] = weight.shape
    this.lm_head = new Linear(width, vocabularySize, { bias: logitOptions.headBias ?? false, dtype })
    if (config.tieWordEmbeddings && weight instanceof Tensor) this.lm_head.weight = weight
  }

  override get pathNames(): Readonly<Record<string, string>> {
    return { decoder: this.decoderName }
  }

  get device(): Device {
    return this.decoder.device
  }

  get tokenEmbedding(): EmbeddingLike {
    return this.decoder.embedding
  }

  override prepare(capacity: number): void {
    this.decoder.prepare(capacity)
  }

  protected override hidden(ids: Tensor, cache: KVCache | null, position: Position, last?: number): Tensor {
    return this.decoder.forward(ids, { cache: cache ?? withoutCache, position, last })
  }

  protected override normalize(x: Tensor): Tensor {
    return this.decoder.normalize(x)
  }

  protected override head(x: Tensor): Tensor {
    const { logitScale = 1, finalSoftcap } = this.logitOptions
    let logits = this.lm_head.forward(x)
    if (logitScale !== 1) logits = mul(logits, logitScale)
    return finalSoftcap === undefined ? logits : mul(tanh(mul(logits, 1 / finalSoftcap)), finalSoftcap)
  }
}
