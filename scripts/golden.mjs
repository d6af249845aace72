// npm run golden: runs the tests that compare with what the Python libraries computed, and prints all their
// comparisons as one table: quanto's weights, activations and HQQ, bitsandbytes' NF4 and FP4, torchao's recipes, GPTQModel's,
// AutoAWQ's and SmoothQuant's choices, PyTorch's optimizers and gradients, native and WebAssembly. `-- calibrated`: the calibrated ones alone.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'

const calibrated = [
  'test/quantize/gptq.test.ts',
  'test/quantize/algorithms/awqScales.test.ts',
  'test/quantize/algorithms/smoothQuant.test.ts',
  'test/quantize/algorithms/awq.test.ts',
  'test/models/calibratedGolden.test.ts',
]
const all = [
  'test/quantize/quantizers.test.ts',
  'test/models/golden.test.ts',
  'test/models/goldenActivations.test.ts',
  'test/models/bitsandbytes.test.ts',
  'test/quantize/hqqModel.test.ts',
  'test/quantize/recipesModel.test.ts',
  'test/nn/optimizers.test.ts',
  'test/nn/trainGolden.test.ts',
  'test/nn/losses.test.ts',
  'test/tensor/matmul.test.ts',
  'test/tensor/conv.test.ts',
  'test/tensor/elementwiseGradients.test.ts',
  'test/tensor/layerGradients.test.ts',
  ...calibrated,
]
const files = process.argv.includes('calibrated') ? calibrated : all

const folder = mkdtempSync(join(tmpdir(), 'lowbit-golden-'))
const path = join(folder, 'rows.jsonl')
const script = fileURLToPath(new URL('test.mjs', import.meta.url))
const env = { ...process.env, LOWBIT_GOLDEN_TABLE: path }
// What the tests say goes to stderr, so that stdout is the table alone.
const { status } = spawnSync(process.execPath, [script, ...files], {
  stdio: ['ignore', process.stderr.fd, 'inherit'],
  env,
})
const rows = existsSync(path)
  ? readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  : []
rmSync(folder, { recursive: true })
if (process.argv.includes('--json')) console.log(JSON.stringify(rows))
else if (rows.length > 0) {
  const head = Object.keys(rows[0])
  const noLines = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }
  const table = new Table({ head, chars: noLines, style: { head: [], border: [] } })
  // Files run side by side: the same order in every run.
  const key = ({ golden, values, device }) => [golden, values, device].join()
  rows.sort((a, b) => (key(a) < key(b) ? -1 : 1))
  for (const row of rows) table.push(head.map((column) => row[column]))
  console.log(String(table))
  console.log(`${rows.length} comparisons`)
}
process.exitCode = status ?? 1
