// SmoothQuant's demo, as it is done with OPT: weights and activations in 8 bits. Where a few channels of what
// layers take are far larger than the others, the scale of the codes is theirs, and the others are rounded away;
// SmoothQuant moves their size into the weights first.
//
//     npm run example smoothquant/main
import {
  type CalibratedAlgorithm,
  type CausalLM,
  keep,
  type Linear,
  loadCausalLM,
  ops,
  quantizeCalibrated,
  type RMSNorm,
  scope,
  smoothQuant,
  Tensor,
} from 'lowbit'
import { readOptions } from '../options.ts'
import { Comparison, readParts, stories, textFlags } from '../texts.ts'

const about = `Quantizes weights and activations of a language model to 8 bits, plainly and after SmoothQuant, with one
scale for each tensor of activations (static) and one for each token (dynamic). Compares perplexity, and how
many next tokens are guessed right, on the last third of the text.

MODEL is a folder in Hugging Face layout or a hub id; without it, the model in models/stories260K. That one
is too small to have the outliers of large models, so they are put in: some channels behind each norm become
larger, and the weights that multiply them smaller. In float it computes the same as before.`

const { prompt: _, ...settings } = textFlags
const flags = readOptions(
  'smoothquant/main [MODEL]',
  about,
  {
    alpha: ['0.5', 'how much of it the weights take over, 0 to 1, or auto: searched for'],
    outliers: [64, 'how much larger two channels of the embedded model become; 1: as it is'],
    ...settings,
  },
  1,
)
const [path] = flags.positionals
const { calibration, test } = await readParts(flags.text)

/** Two channels of what layers take become larger, and their weights smaller: the same model. */
function putOutliers(model: CausalLM, factor: number): void {
  const channels = Float32Array.from({ length: 64 }, (_, i) => (i === 15 || i === 40 ? factor : 1))
  for (const block of [0, 1, 2, 3, 4].map((i) => `model.layers.${i}`)) {
    const behind: Record<string, string[]> = {
      input_layernorm: ['q_proj', 'k_proj', 'v_proj'].map((name) => `self_attn.${name}`),
      post_attention_layernorm: ['mlp.gate_proj', 'mlp.up_proj'],
    }
    for (const [norm, layers] of Object.entries(behind)) {
      scope(() => {
        const factors = Tensor.fromNumbers(model.device, channels, [64])
        const before = model.getModule(`${block}.${norm}`) as RMSNorm
        before.weight = keep(ops.mul(before.weight, factors))
        for (const layer of layers.map((name) => model.getModule(`${block}.${name}`) as Linear))
          layer.weight = keep(ops.div(layer.weight, factors))
      })
    }
  }
}

/** The share of the text's tokens that the model guesses right from those before. */
async function guessedRight(model: CausalLM): Promise<string> {
  const ids = model.tokenizer?.encode(test) ?? []
  let [right, all] = [0, 0]
  for (let start = 0; start + flags.length <= ids.length; start += flags.length) {
    const window = ids.slice(start, start + flags.length)
    const guesses = scope(() => ops.argmax(model.forward(window)))
    const read = await guesses.read()
    guesses.dispose()
    for (let i = 1; i < window.length; i++) right += read[i - 1] === window[i] ? 1 : 0
    all += window.length - 1
  }
  return `${((100 * right) / all).toFixed(1)} %`
}

const float = await loadCausalLM(path ?? stories)
if (!path) putOutliers(float, flags.outliers)
const table = new Comparison(float, test, flags.length, 'guessed right')
await table.add('float', float, await guessedRight(float))

const alpha = flags.alpha === 'auto' ? 'auto' : Number(flags.alpha)
for (const activations of ['static', 'dynamic'] as const) {
  const smooth = smoothQuant({ alpha, activations })
  // Without its `prepare` nothing is smoothed, and the same is rounded as it is.
  const plain: CalibratedAlgorithm = { name: 'plain', options: smooth.options }
  for (const algorithm of [plain, smooth]) {
    const model = float.clone()
    await quantizeCalibrated(model, {
      algorithm,
      data: [calibration],
      samples: flags.samples,
      length: flags.length,
      exclude: 'lm_head',
    })
    await table.add(`int8, ${activations}, ${algorithm.name}`, model, await guessedRight(model))
    model.dispose()
  }
}
console.log(table.toString())
await float.device.close()
