import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** Files that the Python libraries wrote, made by scripts/make-safetensors-fixtures.py. */
export const fixtures = join(import.meta.dirname, '../golden/safetensors/')

/**
 * The large golden set, which lies outside the repository; tests over it skip only where nobody said it is
 * there.
 */
export const golden = process.env.LOWBIT_GOLDEN ?? join(import.meta.dirname, '../../../shared/golden')
export const skipGolden =
  process.env.LOWBIT_GOLDEN === undefined && !existsSync(golden) ? 'set LOWBIT_GOLDEN' : false
