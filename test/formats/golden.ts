import { join } from 'node:path'
import { golden } from '../golden.ts'

/** Files that the Python libraries wrote, made by scripts/make-safetensors-fixtures.py. */
export const fixtures = join(golden, 'safetensors/')
