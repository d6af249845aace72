import { FormatError } from '../../core/errors.ts'
import { isObject } from '../../core/kinds.ts'
import { type JsonObject, show } from '../../formats/json.ts'
import { preTokenizers } from '../ggufPreTokenizers.ts'
import { addedToken, surrounding } from './sentencePiece.ts'

/** What folders without a tokenizer.json say of their tokenizer besides its vocabulary. */
export interface TokenizerSettings {
  /** tokenizer_config.json */
  readonly config: JsonObject
  /** special_tokens_map.json */
  readonly special: JsonObject
  /** added_tokens.json: ids by text. */
  readonly added: JsonObject
}

/** Names of special tokens, in the order in which transformers adds them. */
const specialNames = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
]

/** What a class of transformers does with vocab.json and merges.txt. */
interface Rule {
  readonly normalizer: object | null
  readonly preTokenizer: string
  /** Special tokens, where the files name none. */
  readonly usual: Readonly<Record<string, string>>
}

const endOfText = '<|endoftext|>'
const gpt2: Rule = {
  normalizer: null,
  preTokenizer: 'gpt-2',
  usual: { bos_token: endOfText, eos_token: endOfText, unk_token: endOfText },
}
const qwen2: Rule = {
  normalizer: { type: 'NFC' },
  preTokenizer: 'qwen2',
  usual: { eos_token: endOfText, pad_token: endOfText },
}
const rules = new Map<string, Rule>(
  [
    ['GPT2Tokenizer', gpt2],
    ['CodeGenTokenizer', gpt2],
    ['Qwen2Tokenizer', qwen2],
  ].flatMap(([name, rule]) => [[name, rule] as [string, Rule], [`${name}Fast`, rule] as [string, Rule]]),
)

/**
 * The tokenizer.json that says what vocab.json and merges.txt say: byte-level tokens of GPT-2, OPT, CodeGen and
 * Qwen2.
 * @param vocabulary vocab.json
 * @param merges the text of merges.txt
 * @throws FormatError if the class that the config names is another
 */
export function vocabularyFiles(
  vocabulary: JsonObject,
  merges: string,
  settings: TokenizerSettings,
): Record<string, unknown> {
  const { config } = settings
  const name = config.string('tokenizer_class', 'GPT2Tokenizer')
  const rule = rules.get(name)
  if (!rule)
    throw config.error(
      'tokenizer_class',
      `must be one of ${[...rules.keys()].join(', ')}, without a tokenizer.json`,
    )
  const vocab = vocabulary.toObject()
  const idOf = (token: string): number | undefined => {
    const id = vocab[token] ?? settings.added.get(token)
    return typeof id === 'number' ? id : undefined
  }
  const special = specialTokens(settings, rule.usual)
  const around = (key: string, adds: boolean) => {
    const content = special.get(key)
    const id = content === undefined ? undefined : idOf(content)
    return adds && content !== undefined && id !== undefined ? { id, content } : null
  }
  const spaced = config.boolean('add_prefix_space', false)
  const written = preTokenizers.get(rule.preTokenizer)
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(settings, special, idOf),
    normalizer: rule.normalizer,
    pre_tokenizer: spaced ? { ...written, add_prefix_space: true } : written,
    post_processor: surrounding(
      around('bos_token', config.boolean('add_bos_token', false)),
      around('eos_token', config.boolean('add_eos_token', false)),
    ),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', fuse_unk: false, byte_fallback: false, vocab, merges: mergesOf(merges) },
  }
}

/** The lines of merges.txt behind its heading. */
function mergesOf(text: string): string[] {
  const lines = text.split(/\r?\n/)
  if (lines[0]?.startsWith('#version')) lines.shift()
  return lines.filter((line) => line !== '')
}

/** Contents of special tokens by their names; what the files say first counts. */
export function specialTokens(
  { config, special }: TokenizerSettings,
  usual: Readonly<Record<string, string>> = {},
): Map<string, string> {
  const found = new Map<string, string>()
  for (const name of specialNames) {
    // null says that there is none.
    const said = [config, special].find((file) => file.keys().includes(name))
    const content = said ? contentOf(said.get(name)) : usual[name]
    if (content !== undefined) found.set(name, content)
  }
  return found
}

function contentOf(value: unknown): string | undefined {
  const content = isObject(value) ? value.content : value
  return typeof content === 'string' ? content : undefined
}

/** Those of added_tokens.json, of the config's list by id, and the special ones. */
export function addedTokens(
  { config, added }: TokenizerSettings,
  special: ReadonlyMap<string, string>,
  idOf: (token: string) => number | undefined,
): Record<string, unknown>[] {
  const tokens = new Map<number, Record<string, unknown>>()
  const names = new Set(special.values())
  for (const content of added.keys()) {
    const id = added.count(content)
    tokens.set(id, addedToken(id, content, names.has(content)))
  }
  for (const content of names) {
    const id = idOf(content)
    if (id !== undefined) tokens.set(id, addedToken(id, content, true))
  }
  const listed = config.has('added_tokens_decoder') ? config.object('added_tokens_decoder') : null
  for (const key of listed?.keys() ?? []) {
    const entry = listed?.get(key)
    const content = contentOf(entry)
    if (!/^\d+$/.test(key) || !isObject(entry) || content === undefined)
      throw new FormatError(
        `${config.name}: added_tokens_decoder must have objects with a content by id; ${show(key)} has ${show(entry)}`,
      )
    const id = Number(key)
    tokens.set(id, { ...addedToken(id, content, entry.special === true || names.has(content)), ...entry, id })
  }
  return [...tokens.values()].sort((a, b) => Number(a.id) - Number(b.id))
}
