import { isObject } from '../core/kinds.ts'

/*
 * How text is cut before merging: GGUF files name a rule, a tokenizer.json writes it out.
 * Source: llama.cpp, src/llama-vocab.cpp.
 */

/**
 * Words, numbers and the rest each with the space before them: GPT-2's rule, which `ByteLevel` has built in.
 */
const gpt2Split = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
/** Each digit alone, then GPT-2's rule. */
const digitSplit = sequence(split('\\p{N}'), gpt2Split)
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const llama3Split = wordSplit('\\p{N}{1,3}')
/** Words that change from capitals to small letters once; what follows is the same in tiktoken's o200k. */
const capitals = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]'
const smallLetters = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'
const deepseekSplit = sequence(
  split('\\p{N}{1,3}'),
  split('[一-龥\u3040-ゟ゠-ヿ]+'),
  split(
    '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+',
  ),
  bytes,
)
const falconSplit = sequence(
  { type: 'Punctuation', behavior: 'Contiguous' },
  gpt2Split,
  { type: 'Digits', individual_digits: false },
  split('[0-9][0-9][0-9]'),
)
const bloomSplit = sequence(split(' ?[^(\\s|[.,!?…。，、।۔،])]+'), bytes)
const llama3Names = ['llama-bpe', 'llama3', 'llama-v3']
/** Rules under which a word that is a token is not taken apart, and a text begins with a token of its own. */
export const wholeWordNames = [...llama3Names, 'tekken']

/** How text is cut before merging, by the names that `tokenizer.ggml.pre` uses. */
export const preTokenizers = new Map<string, object>([
  ...['default', 'gpt-2', 'gpt2', 'mpt', 'olmo', 'jais', 'phi-2'].map((name) => [name, gpt2Split] as const),
  ...['smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'exaone'].map(
    (name) => [name, digitSplit] as const,
  ),
  ...llama3Names.map((name) => [name, llama3Split] as const),
  ...['dbrx', 'smaug-bpe'].map((name) => [name, llama3Split] as const),
  ...['qwen2', 'stablelm2', 'deepseek-r1-qwen', 'megrez'].map((name) => [name, wordSplit('\\p{N}')] as const),
  ...['gpt-4o', 'llama4'].map((name) => [name, casedSplit('\\p{N}{1,3}', `${contractions}?`)] as const),
  ['tekken', casedSplit('\\p{N}', '')],
  ['deepseek-v3', deepseekSplit],
  ['falcon', falconSplit],
  ['bloom', bloomSplit],
])

function sequence(...pretokenizers: object[]): object {
  return { type: 'Sequence', pretokenizers }
}

function split(regex: string): object {
  return { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false }
}

/** The rule of tiktoken's cl100k, with its own idea of a number. */
function wordSplit(number: string): object {
  const regex = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${number}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
  return sequence(split(regex), bytes)
}

/** The rule of tiktoken's o200k, with its own idea of a number and of what ends a word. */
function casedSplit(number: string, end: string): object {
  const before = '[^\\r\\n\\p{L}\\p{N}]?'
  const word = `${before}${capitals}*${smallLetters}+${end}|${before}${capitals}+${smallLetters}*${end}`
  const regex = `${word}|${number}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
  return sequence(split(regex), bytes)
}

/**
 * The first name of the rule that a tokenizer.json writes out as its `pre_tokenizer`; null if it has none.
 */
export function preTokenizerName(written: unknown): string | null {
  const wanted = stepsOf(written)
  // Which one is the default is another reader's to choose.
  const found = [...preTokenizers].find(([name, rule]) => name !== 'default' && stepsOf(rule) === wanted)
  return found?.[0] ?? null
}

/** What cuts a text, step by step: rules that are written differently and do the same have the same steps. */
function stepsOf(rule: unknown): string {
  if (!isObject(rule)) return 'none'
  const { type, pretokenizers, pattern, behavior, invert, use_regex, add_prefix_space } = rule
  if (type === 'Sequence' && Array.isArray(pretokenizers)) return pretokenizers.map(stepsOf).join(' | ')
  if (type === 'Digits' && rule.individual_digits === true) return 'at \\p{N}'
  if (type === 'Split' && isObject(pattern) && behavior === 'Isolated' && invert !== true)
    return `at ${pattern.Regex}`
  if (type === 'ByteLevel' && add_prefix_space !== true)
    return use_regex === false ? 'bytes' : 'words, then bytes'
  return JSON.stringify(rule)
}
