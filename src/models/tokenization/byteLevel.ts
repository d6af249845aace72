/*
 * GPT-2's way to spell bytes by characters that can be seen: those that can stand for themselves, others for
 * the next ones from U+0100 on.
 */

const characters: string[] = []
const bytes = new Map<string, number>()
for (let byte = 0, next = 0x100; byte < 256; byte++) {
  const isSeen = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
  const character = String.fromCharCode(isSeen ? byte : next++)
  characters.push(character)
  bytes.set(character, byte)
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** The bytes of a text, each by its character. */
export function encodeBytes(text: string): string {
  let spelled = ''
  for (const byte of encoder.encode(text)) spelled += characters[byte]
  return spelled
}

/** The text of tokens that spell bytes; a token with a character that spells none is text itself. */
export function decodeBytes(tokens: readonly string[]): string {
  const all: number[] = []
  for (const token of tokens) {
    const spelled = Array.from(token, (character) => bytes.get(character))
    if (spelled.every((byte) => byte !== undefined)) all.push(...spelled)
    else all.push(...encoder.encode(token))
  }
  return decoder.decode(Uint8Array.from(all))
}

const byteToken = /^<0x([0-9A-Fa-f]{2})>$/

/** Whether a token spells a byte: `<0x41>`. */
export function isByteToken(token: string): boolean {
  return byteToken.test(token)
}

/**
 * Tokens of which each run of `<0x41>` has become the text that its bytes spell; if they are no UTF-8, U+FFFD
 * for each.
 */
export function decodeByteTokens(tokens: readonly string[]): string[] {
  const decoded: string[] = []
  let run: number[] = []
  const end = () => {
    if (run.length > 0) decoded.push(strictText(run) ?? '\ufffd'.repeat(run.length))
    run = []
  }
  for (const token of tokens) {
    const byte = byteToken.exec(token)
    if (byte) run.push(Number.parseInt(byte[1], 16))
    else {
      end()
      decoded.push(token)
    }
  }
  end()
  return decoded
}

const strict = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })

function strictText(run: readonly number[]): string | undefined {
  try {
    return strict.decode(Uint8Array.from(run))
  } catch {
    return undefined
  }
}
