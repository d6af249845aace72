import type { CleanUpStream } from '../cleanUp.ts'
import type { DecodeStream } from '../decodeStream.ts'
import type { Pipeline } from './pipeline.ts'

/**
 * Text from a tokenizer's pipeline. Held back are characters that are not whole, runs of bytes that have not
 * ended, and where spaces are cleaned up the beginnings of what would be replaced.
 *
 * A token is decoded behind the last ones that were told as a whole, and never again with all before it: the
 * text of the first token differs from what it is further on, that of a later one only by what is around it.
 */
export class PipelineStream implements DecodeStream {
  private readonly pipeline: Pipeline
  private readonly skipSpecialTokens: boolean
  private readonly cleaned: CleanUpStream | undefined
  /** The tokens that are still looked at, of whose text so many characters were told. */
  private ids: number[] = []
  private told = 0
  /** How many of them ended where nothing was held back. */
  private whole = 0

  constructor(pipeline: Pipeline, skipSpecialTokens: boolean, cleaned?: CleanUpStream) {
    this.pipeline = pipeline
    this.skipSpecialTokens = skipSpecialTokens
    this.cleaned = cleaned
  }

  add(id: number): string {
    this.ids.push(id)
    const settled = this.pipeline.decodeSettled(this.ids, this.skipSpecialTokens)
    const piece = settled.slice(this.told)
    this.told = Math.max(this.told, settled.length)
    if (settled === this.decode(this.ids)) this.forget()
    return this.cleaned ? this.cleaned.add(piece) : piece
  }

  end(): string {
    const piece = this.decode(this.ids).slice(this.told)
    this.told += piece.length
    return this.cleaned ? this.cleaned.add(piece) + this.cleaned.end() : piece
  }

  /** Leaves out what lies before the last tokens that were told as a whole, unless these have no text. */
  private forget(): void {
    const last = this.ids.slice(this.whole)
    const text = this.decode(last)
    if (text !== '') {
      this.ids = last
      this.told = text.length
    }
    this.whole = this.ids.length
  }

  private decode(ids: readonly number[]): string {
    return this.pipeline.decode(ids, this.skipSpecialTokens)
  }
}
