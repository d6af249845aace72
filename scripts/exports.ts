// What the package exports, read from src/index.ts: each name with its kind, the file that declares it, and
// the first sentence of its doc comment ('' where there is none). `ops` and `transforms` are followed by what
// they hold.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** One name that the package exports. */
export interface Export {
  name: string
  kind: string
  /** From the root of the repository. */
  file: string
  sentence: string
  /** The namespace that holds it. */
  within?: string
}

/** Everything that the index exports, in its order. */
export function listExports(index = 'src/index.ts'): Export[] {
  const text = readFileSync(join(root, index), 'utf8')
  const found: Export[] = []
  for (const [, star, list, path] of text.matchAll(
    /^export (?:type )?(?:\* as (\w+)|\{([^}]*)\}) from '([^']+)'/gm,
  )) {
    const file = join(dirname(index), path)
    if (star) {
      const members = file.endsWith('index.ts') ? listExports(file) : declaredIn(file)
      found.push({ name: star, kind: 'namespace', file, sentence: namespaceSentence(file) })
      found.push(...members.map((member) => ({ ...member, within: star })))
    } else {
      const names = list.split(',').map((name) => name.replace(/\btype\b/, '').trim())
      found.push(...names.filter((name) => name !== '').map((name) => declaration(name, file)))
    }
  }
  return found
}

function declaredIn(file: string): Export[] {
  const text = readFileSync(join(root, file), 'utf8')
  const names = [
    ...text.matchAll(/^export (?:async )?(?:function\*?|abstract class|class|const|type|interface) (\w+)/gm),
  ].map(([, name]) => name)
  return names.map((name) => declaration(name, file))
}

function declaration(name: string, file: string): Export {
  const text = readFileSync(join(root, file), 'utf8')
  const match = new RegExp(
    `^export (?:async |abstract )*(function\\*?|class|const|type|interface) ${name}\\b`,
    'm',
  ).exec(text)
  if (!match) {
    const from = new RegExp(
      `^(?:im|ex)port (?:type )?\\{[^}]*\\b${name}\\b[^}]*\\} from '(\\.[^']+)'`,
      'm',
    ).exec(text)
    if (!from) throw new Error(`${file}: must declare ${name}, which the index exports`)
    return declaration(name, join(dirname(file), from[1]))
  }
  const before = text.slice(0, match.index)
  const comment = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*$/.exec(before)?.[1] ?? ''
  const kind =
    match[1] === 'const' && /^[^\n]*=>/.test(text.slice(match.index)) ? 'function' : match[1].replace('*', '')
  return { name, kind, file, sentence: firstSentence(comment) }
}

/** The comment that opens a file of operations. */
function namespaceSentence(file: string): string {
  const text = readFileSync(join(root, file), 'utf8')
  return firstSentence(/^\/\*\*?((?:(?!\*\/)[\s\S])*)\*\//.exec(text)?.[1] ?? '')
}

/** Up to the first full stop that ends a sentence, or the first empty line or tag. */
function firstSentence(comment: string): string {
  const plain = comment
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, '').trimEnd())
    .join('\n')
    .trim()
  const paragraph = plain
    .split(/\n\s*\n|\n?@\w+/)[0]
    .replace(/\s+/g, ' ')
    .trim()
  return /^.*?\.(?=\s+[A-Zqt‖−`(]|$)/.exec(paragraph)?.[0] ?? paragraph
}
