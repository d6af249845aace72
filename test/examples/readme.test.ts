import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '../..')

test("the README's first code runs twice", () => {
  const folder = mkdtempSync(join(root, 'build/readme-'))
  try {
    const [, code] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? []
    writeFileSync(join(folder, 'first.ts'), code)
    symlinkSync(join(root, 'models'), join(folder, 'models'))
    for (const _ of ['once', 'again']) {
      const { stdout, stderr, status } = spawnSync(
        process.execPath,
        ['--conditions=lowbit-source', 'first.ts'],
        {
          cwd: folder,
          encoding: 'utf8',
        },
      )
      assert.equal(status, 0, stderr)
      // By hand: 260,032 floats; of five layers 45,312 codes of 4 bits and 600 scales and shifts each, 33,472
      // floats.
      assert.match(stdout, /^1040128 → 271168 bytes\n/)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test("the README's code for a model of one's own runs as it stands, and the network learns", () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const section = /## Quantize your own model\n[\s\S]*?\n## /.exec(readme)?.[0] ?? ''
  assert.ok(section.split('\n').length <= 41, 'at most 40 lines')
  // Within the package, so that `lowbit` is found.
  const folder = mkdtempSync(join(root, 'build/readme-'))
  try {
    writeFileSync(join(folder, 'own.ts'), /```ts new\n([\s\S]*?)```/.exec(section)?.[1] ?? '')
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--conditions=lowbit-source', 'own.ts'], {
      cwd: folder,
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    assert.match(stdout, /\(fc1\): QLinear\(in_features=2, out_features=64, bias=True\)/)
    // By hand: 128 + 128 codes of 4 bits, 64 + 2 scales and shifts, 66 biases, and for two layers a scale of
    // inputs and one of outputs.
    const [, right, bytes] = /\) ([\d.]+) (\d+) bytes/.exec(stdout) ?? []
    assert.equal(Number(bytes), 128 + 2 * 4 * 66 + 4 * 66 + 2 * 2 * 4)
    // About half of the points lie in the ring.
    assert.ok(Number(right) > 0.9, stdout)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
