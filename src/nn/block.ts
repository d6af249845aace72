import { Module } from './module.ts'

/** What a family calls a block: its class, and its parts by the names that they have in code. */
export interface BlockNames<Part extends string> {
  /** Printed as the class's name. */
  type: string
  /** In paths; a part that is not listed has its name in code. */
  parts: Readonly<Partial<Record<Part, string>>>
}

/**
 * A module made of given parts, in their order, under a family's own names: `self_attn.q_proj` in one and
 * `attn.c_attn` in the next.
 */
export abstract class Block<Part extends string> extends Module {
  private readonly names: BlockNames<Part>

  constructor(names: BlockNames<Part>) {
    super()
    this.names = names
  }

  override get typeName(): string {
    return this.names.type
  }

  /** Those of its parts that take the same input, by their names in code: what `fuse` computes as one. */
  get sameInput(): readonly Part[] {
    return []
  }

  override get pathNames(): Readonly<Record<string, string>> {
    return this.names.parts as Record<string, string>
  }
}
