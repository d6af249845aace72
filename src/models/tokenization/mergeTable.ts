/** 32 bits by chance. */
export function randomWord(): number {
  return Math.trunc(Math.random() * 2 ** 32) | 0
}

/**
 * What pairs of tokens become, by their ids: a hash table in three arrays, since a Map of half a million pairs
 * takes ten times as long to make.
 */
export class MergeTable {
  private readonly left: Int32Array
  private readonly right: Int32Array
  private readonly ranks: Int32Array
  private readonly results: Int32Array
  private readonly mask: number
  /** Factors of the hash: by chance, so that no file can choose pairs that all fall into the same slots. */
  private readonly factors = [randomWord() | 1, randomWord() | 1] as const

  /** @param count how many pairs there will be, at most */
  constructor(count: number) {
    const size = 2 ** Math.ceil(Math.log2(2 * count + 2))
    this.mask = size - 1
    this.left = new Int32Array(size).fill(-1)
    this.right = new Int32Array(size)
    this.ranks = new Int32Array(size)
    this.results = new Int32Array(count)
  }

  /** Sets what a pair becomes; of equal pairs the last counts. Ranks are 0, 1, …: the lowest is joined first. */
  set(left: number, right: number, rank: number, result: number): void {
    const slot = this.slotOf(left, right)
    this.left[slot] = left
    this.right[slot] = right
    this.ranks[slot] = rank
    this.results[rank] = result
  }

  /** The rank of a pair; -1 if it is not joined. */
  rank(left: number, right: number): number {
    const slot = this.slotOf(left, right)
    return this.left[slot] < 0 ? -1 : this.ranks[slot]
  }

  /** The token that the pair of a rank becomes. */
  result(rank: number): number {
    return this.results[rank]
  }

  /** Where the pair stands, or would. */
  private slotOf(left: number, right: number): number {
    let slot = Math.imul(left, this.factors[0]) ^ Math.imul(right, this.factors[1])
    slot ^= slot >>> 15
    for (slot &= this.mask; ; slot = (slot + 1) & this.mask) {
      if (this.left[slot] < 0 || (this.left[slot] === left && this.right[slot] === right)) return slot
    }
  }
}
