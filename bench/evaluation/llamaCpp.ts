import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { cache } from './run.ts'

/** The package whose source brings llama.cpp along. */
const packageOf = 'llama-cpp-python==0.3.36'
const place = join(cache, 'llama.cpp')
const program = join(place, 'build/bin/llama-perplexity')

/** Tokens of a window. */
export const context = 512

/** llama-perplexity, built from the source in PyPI's package where it is not there. Needs cmake, and pip. */
function llamaPerplexity(): string {
  if (existsSync(program)) return program
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: place, stdio: ['ignore', 2, 2] })
  mkdirSync(place, { recursive: true })
  run('python3', '-m', 'pip', 'download', '--no-deps', '--no-binary', ':all:', packageOf)
  rmSync(join(place, 'source'), { recursive: true, force: true })
  mkdirSync(join(place, 'source'))
  const archive = `llama_cpp_python-${packageOf.split('==')[1]}.tar.gz`
  run('tar', 'xzf', archive, '-C', 'source', '--strip-components=1')
  const only = ['TESTS', 'EXAMPLES', 'SERVER', 'APP'].map((part) => `-DLLAMA_BUILD_${part}=OFF`)
  const settings = ['-DCMAKE_BUILD_TYPE=Release', '-DBUILD_SHARED_LIBS=OFF', '-DLLAMA_OPENSSL=OFF', ...only]
  run('cmake', '-S', 'source/vendor/llama.cpp', '-B', 'build', '-DLLAMA_BUILD_TOOLS=ON', ...settings)
  run('cmake', '--build', 'build', '--target', 'llama-perplexity', '-j', String(cpus().length))
  return program
}

/** What llama-perplexity prints of a model's windows; it is measured once and kept. */
function printed(name: string, model: string, text: string, ...args: string[]): string {
  const path = join(cache, `evaluation/llama.cpp-${name}.txt`)
  if (!existsSync(path)) {
    // Everything that can be is float32, and nothing is fused.
    const floats = ['-ctk', 'f32', '-ctv', 'f32', '-fa', 'off']
    const all = [
      '-m',
      model,
      '-f',
      text,
      '-c',
      String(context),
      '-t',
      String(cpus().length),
      ...floats,
      ...args,
    ]
    // What it prints at the end goes to either stream.
    const out = execFileSync('sh', ['-c', 'exec "$@" 2>&1', 'sh', llamaPerplexity(), ...all], {
      encoding: 'utf8',
    })
    if (!/Final estimate|Same top p:/.test(out))
      throw new Error(`bench:evaluation: llama-perplexity must print its figures; it printed ${out}`)
    writeFileSync(`${path}.part`, out)
    renameSync(`${path}.part`, path)
  }
  return readFileSync(path, 'utf8')
}

/** A figure and its standard error. */
export interface Figure {
  value: number
  error: number
}

/** Perplexity of the model that others are compared with; its logits go to a file `base`. */
export function basePerplexity(name: string, model: string, text: string, base: string): Figure {
  const lines = printed(name, model, text, '--kl-divergence-base', base)
  const [, value, error] = /Final estimate: PPL = ([\d.]+) \+\/- ([\d.]+)/.exec(lines) ?? []
  if (!value) throw new Error('bench:evaluation: llama-perplexity must print its final estimate')
  return { value: Number(value), error: Number(error) }
}

/** How far a model is from the one whose logits are in `base`: in all windows, and the divergence of the first. */
export function divergence(name: string, model: string, text: string, base: string) {
  const lines = printed(name, model, text, '--kl-divergence', '--kl-divergence-base', base)
  const figure = (start: RegExp): Figure => {
    const found = new RegExp(`${start.source} *: +([\\d.-]+) ± +([\\d.]+)`, 'm').exec(lines)
    if (!found) throw new Error(`bench:evaluation: llama-perplexity must print ${start.source}`)
    return { value: Number(found[1]), error: Number(found[2]) }
  }
  const share = figure(/^Same top p/)
  const [, first] = /^ *1 .*?±.*?±.*? ([\d.]+) ±/m.exec(lines) ?? []
  return {
    perplexity: figure(/^Mean PPL\(Q\)/),
    klDivergence: figure(/^Mean +KLD/),
    firstWindow: Number(first),
    top1Agreement: { value: share.value / 100, error: share.error / 100 },
  }
}

/** The tokens of the windows whose logits are in a file. */
export function tokensIn(base: string): number[] {
  const header = 20
  const start = readFileSync(base).subarray(0, header + 2 ** 24)
  const [windowTokens, , windows] = [8, 12, 16].map((at) => start.readInt32LE(at))
  return Array.from({ length: windowTokens * windows }, (_, i) => start.readInt32LE(header + 4 * i))
}
