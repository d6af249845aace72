// GPTQ's tutorial, as auto_gptq and GPTQModel tell it: load a model, quantize it on a text, save it, load what
// was saved, and let it write. Beside it the same bits by rounding alone.
//
//     npm run example gptq/main
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freeze, generate, gptq, loadCausalLM, quantize, quantizeCalibrated, save } from 'lowbit'
import { readOptions } from '../options.ts'
import { Comparison, readParts, stories, textFlags } from '../texts.ts'

const about = `Quantizes a language model with GPTQ on a text, saves it in GPTQ's format, which auto_gptq, GPTQModel,
transformers and vLLM read, loads it again and lets it write. Perplexity is of the last third of the text,
which GPTQ has not seen.

MODEL is a folder in Hugging Face layout or a hub id; without it, the model in models/stories260K.`

const flags = readOptions(
  'gptq/main [MODEL]',
  about,
  {
    bits: ['4', 'of each weight', ['2', '3', '4', '8']],
    group: [32, 'columns that share a scale; 0: whole rows'],
    order: [true, 'columns that matter most are rounded first (desc_act)'],
    ...textFlags,
    out: ['', 'folder to keep the model in; without it, a temporary one'],
  },
  1,
)
const path = flags.positionals[0] ?? stories
const { calibration, test } = await readParts(flags.text)
const bits = Number(flags.bits) as 2 | 3 | 4 | 8
const groupSize = flags.group || null
const temporary = flags.out ? undefined : await mkdtemp(join(tmpdir(), 'lowbit-gptq-'))
const out = flags.out || join(temporary as string, 'gptq')

try {
  const float = await loadCausalLM(path)
  const table = new Comparison(float, test, flags.length)
  await table.add('float', float)

  const rounded = float.clone()
  quantize(rounded, { weights: `int${bits}`, groupSize, zeroPoints: true, exclude: 'lm_head' })
  freeze(rounded)
  await table.add(`${bits} bits, rounded`, rounded)
  rounded.dispose()

  const model = float.clone()
  const report = await quantizeCalibrated(model, {
    algorithm: gptq({ bits, groupSize, symmetric: false, actOrder: flags.order }),
    data: [calibration],
    samples: flags.samples,
    length: flags.length,
    exclude: 'lm_head',
  })
  const gains = report.map(({ error, errorRounded }) => (error ?? 0) / (errorRounded || 1))
  const mean = gains.reduce((sum, gain) => sum + gain, 0) / gains.length
  console.log(
    `${report.length} layers; their outputs are off by ${mean.toFixed(2)} times what rounding costs, on average`,
  )

  const bytes = await save(model, out, { format: 'gptq' })
  console.log(`${bytes} bytes saved in ${out}\n`)
  model.dispose()

  const loaded = await loadCausalLM(out, { device: float.device })
  await table.add(`${bits} bits, GPTQ, loaded`, loaded)
  console.log(`${table}\n`)
  const { text } = await generate(loaded, flags.prompt, { maxNewTokens: 60 })
  console.log(`${flags.prompt}${text}`)
  await float.device.close()
} finally {
  if (temporary) await rm(temporary, { recursive: true })
}
