import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { findPython } from '../../test/interop/python.ts'

/** A library that lowbit is measured beside. */
export interface Peer {
  /** Its name and version, as the table has it. */
  readonly name: string
  /** An interpreter that has it. */
  python(): Promise<string>
}

/** llm-compressor brings PyTorch and transformers of its own: an environment beside those of test/interop. */
async function llmCompressor(): Promise<string> {
  const cache = process.env.LOWBIT_CACHE ?? join(import.meta.dirname, '../../.cache')
  const folder = join(cache, 'bench-llmcompressor')
  const python = join(folder, 'bin/python')
  if (existsSync(join(folder, 'bin/llmcompressor.trace'))) return python
  execFileSync('python3', ['-m', 'venv', folder], { stdio: 'inherit' })
  execFileSync(python, ['-m', 'pip', 'install', '--quiet', 'llmcompressor==0.14.0.1'], { stdio: 'inherit' })
  return python
}

/** By algorithm. */
export const peers: Record<string, Peer> = {
  gptq: { name: 'GPTQModel 7.7.0', python: () => findPython('gptq') },
  awq: { name: 'llm-compressor 0.14.0.1', python: llmCompressor },
  hqq: { name: 'hqq 0.2.8', python: () => findPython('torchao') },
}
