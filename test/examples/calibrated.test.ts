import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

/* The tutorials of calibrated quantization, on few samples. */

const root = join(import.meta.dirname, '../..')

/** What an example prints, and the rows of its table of models by their names. */
function run(name: string, ...options: string[]): { stdout: string; rows: Map<string, number[]> } {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--conditions=lowbit-source', `examples/${name}.ts`, '--samples', '8', '--length', '64', ...options],
    { cwd: root, encoding: 'utf8' },
  )
  assert.equal(status, 0, stderr)
  const rows = [...stdout.matchAll(/^│ (\S[^│]*?) +│(.*)│$/gm)].map(([, row, cells]): [string, number[]] => {
    return [row, cells.split('│').map((cell) => Number.parseFloat(cell))]
  })
  return { stdout, rows: new Map(rows) }
}

/** KL(float ‖ model) of a row. */
function kl(rows: Map<string, number[]>, name: string): number {
  const [, , value] = rows.get(name) ?? []
  assert.ok(value >= 0, `${name}: ${[...rows.keys()]}`)
  return value
}

function inFolder(action: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-example-'))
  try {
    action(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What config.json of a folder says of the quantization. */
function settingsIn(folder: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).quantization_config
}

test('gptq: loses less than rounding, is saved in its format, and writes', () => {
  inFolder((folder) => {
    const { stdout, rows } = run('gptq/main', '--bits', '3', '--out', join(folder, 'model'))
    assert.ok(kl(rows, '3 bits, GPTQ, loaded') < 0.8 * kl(rows, '3 bits, rounded'))
    // By hand: 260,032 floats of 4 bytes.
    assert.equal(rows.get('float')?.[0], 1_040_128)
    assert.match(stdout, /\nOnce upon a time\S* .+/)
    const {
      quant_method: method,
      bits,
      group_size: group,
      desc_act: order,
    } = settingsIn(join(folder, 'model'))
    assert.deepEqual({ method, bits, group, order }, { method: 'gptq', bits: 3, group: 32, order: true })
  })
})

test('awq: its factors lose less than rounding, and are shown', () => {
  inFolder((folder) => {
    const { stdout, rows } = run('awq/main', '--out', join(folder, 'model'))
    assert.ok(kl(rows, "AWQ's factors") < kl(rows, 'rounded'))
    assert.ok(kl(rows, 'factors, and clipped') < kl(rows, 'rounded'))
    assert.equal([...stdout.matchAll(/layernorm\.weight +from 0\.\d+ to \d\.\d+, of channel/g)].length, 5)
    const { quant_method: method, bits, version } = settingsIn(join(folder, 'model'))
    assert.deepEqual({ method, bits, version }, { method: 'awq', bits: 4, version: 'gemm' })
  })
})

test('mixed-bits: the mix has the bits that were asked for, and loses less than a scale a row of the same bits', () => {
  const { stdout, rows } = run('mixed-bits/main', '--bits', '3.5')
  const chosen = [...rows.keys()].find((name) => name.startsWith('chosen')) ?? ''
  const bits = Number(/[\d.]+/.exec(chosen)?.[0])
  assert.ok(bits <= 3.5 && bits > 3.4, chosen)
  assert.ok(kl(rows, chosen) < kl(rows, 'all layers 3 bits, a scale a row'))
  assert.ok(kl(rows, 'by hand: two kinds 4 bits') < kl(rows, 'all layers 3 bits'))
  assert.match(stdout, /^model\.layers\.4: q_proj \d.*, down_proj \d/m)
  assert.match(stdout, /^3\.\d+ .*█ ← chosen$/m)
})

test('smoothquant: outliers spoil plain 8 bits, and smoothing mends it', () => {
  const { rows } = run('smoothquant/main')
  for (const activations of ['static', 'dynamic']) {
    const [plain, smoothed] = ['plain', 'smoothQuant'].map((name) => `int8, ${activations}, ${name}`)
    assert.ok(kl(rows, plain) > 0.2, `${plain}: ${kl(rows, plain)}`)
    assert.ok(kl(rows, smoothed) < 0.02, `${smoothed}: ${kl(rows, smoothed)}`)
    // Of all tokens, those that the float model guesses.
    const right = (name: string) => rows.get(name)?.[4] ?? 0
    assert.ok(right(smoothed) > right('float') - 1.5 && right(plain) < right('float') - 5)
  }
})
