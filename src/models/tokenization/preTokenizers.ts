import type * as Library from '@huggingface/tokenizers'
import { JsonObject } from '../../formats/json.ts'
import { encodeBytes } from './byteLevel.ts'
import { makeParts } from './library.ts'

/**
 * Cuts text into words, of which tokens are made one by one.
 * @param isFirst whether the text is the beginning of what is encoded
 */
export type PreTokenizer = (text: string, isFirst: boolean) => string[]

const numeric = '\\p{N}'
const punctuation = '[\\p{P}\\x21-\\x2F\\x3A-\\x40\\x5B-\\x60\\x7B-\\x7E]'
const whitespace = '\\p{White_Space}'
const word = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}'
/** GPT-2's rule: words, numbers and the rest, each with the space before it. */
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${whitespace}\\p{L}\\p{N}]+|${whitespace}+(?!\\P{White_Space})|${whitespace}+`

/**
 * The `pre_tokenizer` of a tokenizer.json.
 * Our own code, since that of `@huggingface/tokenizers` knows JavaScript's digits, spaces and words where
 * Python's has those of Unicode, and two of the five ways in which a `Split` may leave its matches; the
 * library translates regular expressions.
 * Source: tokenizers, pre_tokenizers.
 * @throws FormatError if it is of a kind that there is not
 */
export function preTokenizer(library: typeof Library, rule: JsonObject): PreTokenizer {
  const type = rule.string('type')
  const cut = (source: string, behavior = 'Isolated'): PreTokenizer => {
    const pattern = new RegExp(source, 'gu')
    return (text) => split(text, pattern, behavior, false)
  }
  switch (type) {
    case 'Sequence':
      return sequence(
        asList(rule.get('pretokenizers')).map((each) =>
          preTokenizer(library, new JsonObject(each, rule.name, 'pre_tokenizer')),
        ),
      )
    case 'Split': {
      const behavior = rule.string('behavior', 'Isolated')
      if (!Object.hasOwn(behaviors, behavior))
        throw rule.error('behavior', `must be one of ${Object.keys(behaviors).join(', ')}`)
      const pattern = makeParts(library, { pre_tokenizer: rule.toObject() }).pre_tokenizer?.pattern
      if (!pattern) throw rule.error('pattern', 'must be a Regex or a String')
      const invert = rule.boolean('invert', false)
      return (text) => split(text, pattern, behavior, invert)
    }
    case 'ByteLevel': {
      const addsSpace = rule.boolean('add_prefix_space', true)
      const words = rule.boolean('use_regex', true) ? cut(gpt2) : null
      return (text, isFirst) => {
        const spaced = addsSpace && !text.startsWith(' ') ? ` ${text}` : text
        return (words ? words(spaced, isFirst) : [spaced]).map(encodeBytes)
      }
    }
    case 'Metaspace': {
      const mark = rule.string('replacement', '▁')
      const scheme = rule.string(
        'prepend_scheme',
        rule.boolean('add_prefix_space', true) ? 'always' : 'never',
      )
      const isSplit = rule.boolean('split', true)
      const marks = new RegExp(mark.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'gu')
      return (text, isFirst) => {
        const marked = text.replaceAll(' ', () => mark)
        const begins = scheme === 'always' || (scheme === 'first' && isFirst)
        const whole = begins && !marked.startsWith(mark) ? mark + marked : marked
        return isSplit ? split(whole, marks, 'MergedWithNext', false) : [whole]
      }
    }
    case 'Digits':
      return cut(numeric, rule.boolean('individual_digits', false) ? 'Isolated' : 'Contiguous')
    case 'Punctuation':
      return cut(punctuation, rule.string('behavior', 'Isolated'))
    case 'WhitespaceSplit':
      return cut(whitespace, 'Removed')
    case 'Whitespace': {
      const words = new RegExp(`[${word}]+|[^${word}${whitespace}]+`, 'gu')
      return (text) => split(text, words, 'Removed', true)
    }
    case 'BertPreTokenizer':
      return sequence([cut(whitespace, 'Removed'), cut(punctuation)])
    case 'CharDelimiterSplit': {
      const delimiter = rule.string('delimiter')
      return (text) => text.split(delimiter).filter((piece) => piece !== '')
    }
    default:
      throw rule.error('type', 'must be a pre-tokenizer that there is')
  }
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function sequence(steps: readonly PreTokenizer[]): PreTokenizer {
  // A prefix belongs before the first word alone.
  return (text, isFirst) =>
    steps.reduce((words, step) => words.flatMap((each, i) => step(each, isFirst && i === 0)), [text])
}

interface Piece {
  readonly text: string
  readonly matches: boolean
}

/** Which neighbours of the matches of a `Split`, and of the text between them, become one word. */
const behaviors: Readonly<Record<string, (piece: Piece, next: Piece) => boolean>> = {
  Removed: () => false,
  Isolated: () => false,
  Contiguous: (piece, next) => piece.matches === next.matches,
  MergedWithPrevious: (piece, next) => next.matches && !piece.matches,
  MergedWithNext: (piece, next) => piece.matches && !next.matches,
}

function split(text: string, pattern: RegExp, behavior: string, invert: boolean): string[] {
  const pieces: Piece[] = []
  let end = 0
  for (const { index, 0: found } of text.matchAll(pattern)) {
    if (end < index) pieces.push({ text: text.slice(end, index), matches: invert })
    if (found !== '') pieces.push({ text: found, matches: !invert })
    end = index + found.length
  }
  if (end < text.length) pieces.push({ text: text.slice(end), matches: invert })
  const joins = behaviors[behavior]
  const words: string[] = []
  for (const [i, piece] of pieces.entries()) {
    if (behavior === 'Removed' && piece.matches) continue
    if (i > 0 && joins(pieces[i - 1], piece)) words[words.length - 1] += piece.text
    else words.push(piece.text)
  }
  return words
}
