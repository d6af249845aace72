// AWQ's tutorial, as llm-awq and AutoAWQ tell it: some channels of what a layer takes are large, and the weights
// that multiply them matter most. They are made larger before rounding, by factors that are searched for; then
// weights are cut off where that rounds better. The model is saved in AWQ's format, loaded, and writes.
//
//     npm run example awq/main
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  awq,
  type CausalLM,
  freeze,
  generate,
  loadCausalLM,
  quantize,
  quantizeCalibrated,
  save,
  Tensor,
} from 'lowbit'
import { readOptions } from '../options.ts'
import { Comparison, readParts, stories, textFlags } from '../texts.ts'

const about = `Quantizes a language model with AWQ to 4 bits: by rounding, with AWQ's factors, and with its clipping,
too. Shows the factors, saves the model in AWQ's format, which AutoAWQ, transformers and vLLM read, loads
it again and lets it write. Perplexity is of the last third of the text, which AWQ has not seen.

MODEL is a folder in Hugging Face layout or a hub id; without it, the model in models/stories260K. Of that
one the feed-forward layers stay float: they have 172 rows, and AWQ's format takes multiples of 8.`

const flags = readOptions(
  'awq/main [MODEL]',
  about,
  {
    group: [32, 'columns that share a scale (q_group_size)'],
    ...textFlags,
    out: ['', 'folder to keep the model in; without it, a temporary one'],
  },
  1,
)
const [path] = flags.positionals
const exclude = path ? ['lm_head'] : ['lm_head', '*.mlp.*']
const { calibration, test } = await readParts(flags.text)
const temporary = flags.out ? undefined : await mkdtemp(join(tmpdir(), 'lowbit-awq-'))
const out = flags.out || join(temporary as string, 'awq')

/** By what each channel of a normalization was divided, so that the weights behind it could be multiplied. */
async function printFactors(float: CausalLM, scaled: CausalLM): Promise<void> {
  const before = new Map(float.namedParameters())
  for (const [name, after] of scaled.namedParameters()) {
    const was = before.get(name)
    if (!(was instanceof Tensor) || !(after instanceof Tensor) || !/norm\.weight$|ln_\d\.weight$/.test(name))
      continue
    const [old, values] = await Promise.all([was.toNumbers(), after.toNumbers()])
    const factors = [...old].map((value, i) => value / values[i])
    const largest = factors.indexOf(Math.max(...factors))
    if (factors.every((factor) => factor === 1)) continue
    const [least, most] = [Math.min(...factors), factors[largest]].map((factor) => factor.toFixed(2))
    console.log(`${name.padEnd(44)} from ${least} to ${most}, of channel ${largest}`)
  }
}

try {
  const float = await loadCausalLM(path ?? stories)
  const table = new Comparison(float, test, flags.length)
  await table.add('float', float)

  const rounded = float.clone()
  quantize(rounded, { weights: 'int4', groupSize: flags.group, zeroPoints: true, exclude })
  freeze(rounded)
  await table.add('rounded', rounded)
  rounded.dispose()

  for (const clip of [false, true]) {
    const model = float.clone()
    await quantizeCalibrated(model, {
      algorithm: awq({ bits: 4, groupSize: flags.group, clip }),
      data: [calibration],
      samples: flags.samples,
      length: flags.length,
      exclude,
    })
    if (clip) {
      console.log(`${await save(model, out, { format: 'awq' })} bytes saved in ${out}\n`)
      await table.add('factors, and clipped', model)
    } else {
      console.log('Factors of channels:')
      await printFactors(float, model)
      await table.add("AWQ's factors", model)
    }
    model.dispose()
  }

  const loaded = await loadCausalLM(out, { device: float.device })
  await table.add('loaded, floats of 16 bits', loaded)
  console.log(`${table}\n`)
  const { text } = await generate(loaded, flags.prompt, { maxNewTokens: 60 })
  console.log(`${flags.prompt}${text}`)
  await float.device.close()
} finally {
  if (temporary) await rm(temporary, { recursive: true })
}
