import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/*
 * What the release tests need of the machine: Nodes of every major version, and tools of their own, both from
 * npm.
 */

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const cache = process.env.LOWBIT_CACHE ?? join(root, '.cache')

/** What a command printed: to stdout, and where `both` is set to stderr, too. */
export function run(
  command: string,
  args: string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
  both = false,
): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  })
  const said = () => `${error?.message ?? ''}\n${stdout?.slice(-6000)}\n${stderr?.slice(-3000)}`
  assert.equal(status, 0, `${command} ${args.join(' ')} in ${cwd}: ${status === 0 ? '' : said()}`)
  return both ? stdout + stderr : stdout
}

/**
 * The variables of this process as a user has them: without those of CI, of the npm and of the test runner
 * that started it.
 */
export function cleanVariables(): NodeJS.ProcessEnv {
  const inherited =
    /^(CI$|npm_(?!config_)|INIT_CWD|NODE_(TEST_CONTEXT|OPTIONS|V8_COVERAGE|CHANNEL_FD|COMPILE_CACHE)|LOWBIT_|CXX)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !inherited.test(name)))
}

/** PATH without the folders of packages' commands. */
export function systemPath(): string[] {
  return (process.env.PATH ?? '').split(delimiter).filter((path) => !path.includes('node_modules'))
}

/** A folder, made at `folder`, whose `node` and `npm` are of that major version. */
export function nodeFolder(major: number, folder: string): string {
  mkdirSync(folder, { recursive: true })
  symlinkSync(nodeOf(major), join(folder, 'node'))
  const npm = process.env.npm_execpath ?? run('sh', ['-c', 'readlink -f "$(command -v npm)"'], root).trim()
  writeFileSync(join(folder, 'npm'), `#!/bin/sh\nexec node '${npm}' "$@"\n`)
  chmodSync(join(folder, 'npm'), 0o755)
  return folder
}

/** A Node of that major version, installed from npm into the cache. */
export function nodeOf(major: number): string {
  const folder = join(cache, `node-${major}`)
  const binary = join(folder, 'node_modules', 'node', 'bin', 'node')
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({ private: true, allowScripts: { node: true } }),
    )
    run('npm', ['install', '--no-save', `node@${major}`], folder)
  }
  return binary
}

/** The `node_modules` of tools/package.json, installed into the cache. */
export function installTools(): string {
  const folder = join(cache, 'release-tools')
  const manifest = join(import.meta.dirname, 'tools', 'package.json')
  const installed = join(folder, 'installed.json')
  const wanted = readFileSync(manifest, 'utf8')
  if (!existsSync(installed) || readFileSync(installed, 'utf8') !== wanted) {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    cpSync(manifest, join(folder, 'package.json'))
    run('npm', ['install', '--no-fund', '--no-audit'], folder)
    writeFileSync(installed, wanted)
  }
  return join(folder, 'node_modules')
}

/** Whether there is a file of that name in the system's PATH; its path. */
export function find(name: string): string | undefined {
  return systemPath()
    .map((path) => join(path, name))
    .find((path) => existsSync(path))
}
