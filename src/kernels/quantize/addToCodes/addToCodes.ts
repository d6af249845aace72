/**
 * y = codes + add, by runs: the codes of a run are the digits, lowest first, of a number in base 2^bits, to
 * each of which `add` is added, and what a digit cannot hold goes over to the next; what the last one cannot
 * hold is lost. A run of 1 adds to each code modulo 2^bits. GPTQ's words of zero points less one are such
 * runs, since one was taken from each code of a whole word.
 * @param codes [rows, cols] of `bits` bits
 * @param y [rows, cols]
 * @param add −1 or 1, or with a run of 1 any number
 * @param run codes of a run; the last of a row may be shorter
 */
export function addToCodes(
  codes: Uint8Array,
  y: Uint8Array,
  bits: number,
  add: number,
  run: number,
  rows: number,
  cols: number,
): void {
  const base = 2 ** bits
  for (let row = 0; row < rows; row++) {
    let carry = 0
    for (let col = 0; col < cols; col++) {
      if (col % run === 0) carry = 0
      const sum = (codes[row * cols + col] % base) + add + carry
      carry = Math.floor(sum / base)
      y[row * cols + col] = sum - carry * base
    }
  }
}
