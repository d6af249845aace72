import type { Checkpoint, WithFiles } from '../checkpoints/checkpoint.ts'
import { settingsKeys } from '../checkpoints/detect.ts'
import type { Stack } from '../checkpoints/stacks.ts'
import type { Device } from '../devices/device.ts'
import { pythonJson } from '../formats/json.ts'
import { Module } from '../nn/module.ts'
import type { Tokenizer } from './tokenizer.ts'

/** How checkpoints name a model's tensors, where that differs from the paths of the model. */
export interface CheckpointNames {
  /** Other names under which they may hold the tensor at `path`. */
  aliases?(path: string): string[]
  /** Tensors that belong there, though they are none of the model's: tables that the config gives, too. */
  readonly extras?: RegExp
  /** What of a folder that is saved transformers does not find, a sentence each. */
  readonly saveLimits?: readonly string[]
  /** What the tensor at a path is, if it holds those of several experts; null of others. */
  stack?(path: string): Stack | null
}

/** A model that comes from a checkpoint, whatever its task: its config, tokenizer and files, and names. */
export abstract class Pretrained extends Module implements WithFiles {
  /** What its config.json says, in this library's names. */
  abstract readonly config: object
  /** Of the checkpoint it came from; null for a model made in code. */
  tokenizer: Tokenizer | null = null
  /** Where it came from, and the files that belong to it besides the weights. */
  checkpoint: Checkpoint | null = null
  /** How its family's checkpoints name tensors. */
  names: CheckpointNames = {}

  abstract get device(): Device

  get saveLimits(): readonly string[] {
    return this.names.saveLimits ?? []
  }

  /** Its config.json: as it was loaded, with what changed since. */
  savedConfig(): Record<string, unknown> {
    return { ...(this.checkpoint?.config ?? {}) }
  }

  /** config.json, and the files that came with the checkpoint. */
  *savedFiles(quantized: Readonly<Record<string, unknown>> = {}): Generator<[name: string, text: string]> {
    const config = this.savedConfig()
    for (const key of settingsKeys) delete config[key]
    yield ['config.json', pythonJson({ ...config, ...quantized }, 2)]
    for (const [name, text] of this.checkpoint?.files ?? [])
      yield [name, typeof text === 'string' ? text : text()]
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
