import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { installTools, root, run } from './environment.ts'

/**
 * A registry on this machine that has the packages of build/packages, and all others from the registry that
 * npm is set to.
 */
export interface Registry {
  readonly url: string
  close(): void
}

/** Packs lowbit and publishes it, from a folder that is the registry's own. */
export async function publishLocally(folder: string): Promise<Registry> {
  const tools = installTools()
  const upstream = run('npm', ['config', 'get', 'registry'], root).trim()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/`
  mkdirSync(folder, { recursive: true })
  const config = {
    storage: join(folder, 'storage'),
    uplinks: { upstream: { url: upstream, timeout: '60s' } },
    packages: {
      '@lowbit/*': { access: '$all', publish: '$all' },
      lowbit: { access: '$all', publish: '$all' },
      '**': { access: '$all', proxy: 'upstream' },
    },
    max_body_size: '100mb',
    log: { type: 'stdout', format: 'pretty', level: 'error' },
  }
  // Verdaccio reads YAML, of which JSON is a part.
  writeFileSync(join(folder, 'config.yaml'), JSON.stringify(config))
  const args = [
    join(tools, 'verdaccio/bin/verdaccio'),
    '--config',
    join(folder, 'config.yaml'),
    '--listen',
    `127.0.0.1:${port}`,
  ]
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  try {
    await answers(url, server)
    run(process.execPath, ['scripts/package.mjs'], root)
    const packages = join(root, 'build', 'packages')
    // npm publishes only for somebody; this registry asks nobody.
    const account = [`--registry=${url}`, `--//127.0.0.1:${port}/:_authToken=none`]
    for (const name of readdirSync(packages).filter((name) => name.endsWith('.tgz'))) {
      run('npm', ['publish', join(packages, name), ...account], folder)
    }
  } catch (error) {
    server.kill()
    throw error
  }
  return { url, close: () => void server.kill() }
}

async function answers(url: string, server: ChildProcess): Promise<void> {
  const deadline = Date.now() + 60_000
  while (server.exitCode === null && Date.now() < deadline) {
    const response = await fetch(`${url}-/ping`).catch(() => null)
    if (response?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  throw new Error(`verdaccio: must answer at ${url} within a minute; it did not`)
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
