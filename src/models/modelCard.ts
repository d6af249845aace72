import type { LoadPlan } from '../checkpoints/plan.ts'
import { numel } from '../core/shape.ts'
import type { CausalLM } from './causalLM.ts'

/** What a card says beside what the model itself does. */
export interface CardOptions {
  /** Where it will be: `org/name`. */
  readonly id: string
  /** The model that it was made of; null if that is not known. */
  readonly baseModel: string | null
}

/**
 * The model card of a checkpoint, a README.md with what the hub reads above it: base model, scheme, bits per
 * weight, and how it is loaded.
 */
export function modelCard(plan: LoadPlan<CausalLM>, { id, baseModel }: CardOptions): string {
  const { scheme, parameters, model } = plan
  const bytes = parameters.reduce((sum, { byteLength }) => sum + byteLength, 0)
  const weights = parameters.reduce((sum, { shape }) => sum + numel(shape), 0)
  const kinds = [...new Set(parameters.map(({ kind }) => kind))].sort()
  const quantized = scheme !== 'none'
  const facts = [
    ['architecture', model.typeName],
    ['base model', baseModel === null ? 'not known' : `[${baseModel}](https://huggingface.co/${baseModel})`],
    ['quantized by', quantized ? scheme : 'not quantized'],
    ['bits per weight', `${((8 * bytes) / weights).toFixed(2)}, scales included`],
    ['parameters', weights.toLocaleString('en-US')],
    ['weights', `${(bytes / 1e6).toFixed(1)} MB: ${kinds.join('; ')}`],
  ]
  const header = [
    'pipeline_tag: text-generation',
    ...(baseModel === null ? [] : [`base_model: ${baseModel}`]),
    ...(baseModel !== null && quantized ? ['base_model_relation: quantized'] : []),
    'tags:',
    ...['lowbit', ...(quantized ? ['quantized', scheme] : [])].map((tag) => `- ${tag}`),
  ]
  const code = [
    "import { generate, loadCausalLM } from 'lowbit'",
    '',
    `const model = await loadCausalLM('${id}')`,
    "const { text } = await generate(model, 'Once upon a time')",
    'console.log(text)',
  ]
  return `---
${header.join('\n')}
---

# ${id.split('/').at(-1)}

| | |
| --- | --- |
${facts.map(([name, value]) => `| ${name} | ${value} |`).join('\n')}

Written by lowbit (\`npm install lowbit @huggingface/hub\`). From a shell:

\`\`\`sh
npx lowbit generate ${id} "Once upon a time"
\`\`\`

From TypeScript:

\`\`\`ts
${code.join('\n')}
\`\`\`
`
}
