import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

/* The examples that quantize weights, run as a reader would. */

const root = join(import.meta.dirname, '../..')

async function run(example: string, ...args: string[]): Promise<string> {
  const command = ['--conditions=lowbit-source', join(root, 'examples', example), ...args]
  return (await promisify(execFile)(process.execPath, command, { cwd: root })).stdout
}

test('toy-linear: sizes of two layers of 1024, and how far the outputs are off', async () => {
  const float = 2 * 1024 * 1024 * 4
  // Codes, and for each row or group of 128 a scale, where there is a zero point a shift, of 4 bytes.
  const sizes: Record<string, number> = {
    int4WeightOnly: 1024 * 1024 + 2 * 1024 * 8 * 8,
    int8DynamicActivationInt8Weight: 2 * 1024 * 1024 + 2 * 1024 * 4,
  }
  for (const [recipe, bytes] of Object.entries(sizes)) {
    const result = JSON.parse(await run('toy-linear.ts', '--recipe', recipe, '--runs', '3', '--json'))
    assert.deepEqual([result.floatBytes, result.quantizedBytes], [float, bytes], recipe)
    // Rounding 2u/15 apart to the nearest errs by u·(2/15)/√12, u/√3 being the size of uniform weights: 1/15
    // in each of two layers, which add up as squares; in int8 1/127.5 for the weights and about 1/50 (a
    // normal row reaches 3σ) for the activations.
    const [least, most] = recipe === 'int4WeightOnly' ? [0.08, 0.11] : [0.005, 0.03]
    assert.ok(result.error > least && result.error < most, `${recipe}: ${result.error}`)
    assert.ok(result.floatMs > 0 && result.quantizedMs > 0)
  }
  await assert.rejects(run('toy-linear.ts', '--recipe', 'int3'), /--recipe must be one of int4WeightOnly/)
})

test('inspect: trees, codes and dequantized weights of one layer', async () => {
  const text = await run('inspect.ts')
  assert.match(text, /^Before\n\nLlamaForCausalLM\(/)
  assert.match(
    text,
    /\(up_proj\): Linear\(in_features=64, out_features=172, bias=False\)[\s\S]*After[\s\S]*\(up_proj\): QLinear\(/,
  )
  // 172 × 64 codes of 4 bits, 172 scales and shifts.
  assert.match(
    text,
    /QTensor qint4 \[172,64\], one scale a row, 5 bits per weight on [^,]*, 44032 bytes before, 6880 after/,
  )
  const row = (name: string) => {
    const [, numbers] = new RegExp(`^${name} +(.*) …$`, 'm').exec(text) ?? []
    return (numbers ?? '').trim().split(/\s+/).map(Number)
  }
  const [float, codes, dequantized, [scale], [shift]] = [
    'float',
    'codes',
    'dequantized',
    'scales',
    'shifts',
  ].map(row)
  for (const [i, code] of codes.entries()) {
    // Half a code, and four decimals each.
    assert.ok(Math.abs(float[i] - dequantized[i]) <= scale / 2 + 2e-4, `weight ${i}`)
    assert.ok(Math.abs(scale * code - shift - dequantized[i]) <= 5e-4, `code ${i}`)
  }
})

const gpt2 = join(root, 'test/golden/shakespeare-gpt2-1M/float')

test('gpt2-absmax: text, perplexity, histograms', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lowbit-example-'))
  try {
    const out = join(folder, 'histograms.svg')
    const text = await run('gpt2-absmax.ts', gpt2, '--prompt', 'ROMEO:', '--tokens', '20', '--out', out)
    assert.match(text, /^Before \(3\.7 MB\):\nROMEO:[\s\S]*After \(0\.9 MB as int8\):\nROMEO:/)
    const [, before, after] = /Perplexity of the first text: (\S+) before, (\S+) after/.exec(text) ?? []
    assert.ok(Math.abs(Number(after) / Number(before) - 1) < 0.05, text)
    const svg = await readFile(out, 'utf8')
    // A bar a bin in both panels, and the background.
    assert.equal(svg.match(/<rect /g)?.length, 2 * 120 + 1)
    assert.ok(!svg.includes('NaN'))
  } finally {
    await rm(folder, { recursive: true })
  }
})
