import type { Device } from '../devices/device.ts'
import { Module } from '../nn/module.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { Tokenizer } from './tokenizer.ts'

/** How checkpoints name a model's tensors, where that differs from the paths of the model. */
export interface CheckpointNames {
  /** Other names under which they may hold the tensor at `path`. */
  aliases?(path: string): string[]
  /** Tensors that belong there, though they are none of the model's: tables that the config gives, too. */
  readonly extras?: RegExp
}

/** A model that comes from a checkpoint, whatever its task: its config, tokenizer and files, and names. */
export abstract class Pretrained extends Module {
  /** What its config.json says, in this library's names. */
  abstract readonly config: object
  /** Of the checkpoint it came from; null for a model made in code. */
  tokenizer: Tokenizer | null = null
  /** Where it came from, and the files that belong to it besides the weights. */
  checkpoint: Checkpoint | null = null
  /** How its family's checkpoints name tensors. */
  names: CheckpointNames = {}

  abstract get device(): Device

  /** Its config.json: as it was loaded, with what changed since. */
  savedConfig(): Record<string, unknown> {
    return { ...(this.checkpoint?.config ?? {}) }
  }

  /** The names under which checkpoints may hold the tensor at `path`. */
  checkpointNames(path: string): string[] {
    return [path, ...(this.names.aliases?.(path) ?? [])]
  }

  /**
   * Whether a checkpoint's tensor is none of the model's, though it belongs there: a table that the config
   * gives too.
   */
  isKnownExtra(name: string): boolean {
    return this.names.extras?.test(name) ?? false
  }
}
