import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { deviceNames } from '../deviceNames.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** A block of code in a page: its language, the words behind it, its text, and the line that it starts on. */
export interface Block {
  language: string
  words: string[]
  code: string
  line: number
}

/**
 * What a page has to run: TypeScript programs, what is only type-checked, shell scripts; and what it says is
 * printed.
 */
export interface Page {
  name: string
  programs: string[]
  typed: string[]
  /** One shell script, '' where there is none. */
  script: string
  printed: string[]
}

/** The README and the pages of the documentation. */
export function readPages(): Page[] {
  const names = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))
  return ['README.md', ...names.map((name) => `docs/${name}`)].map((name) =>
    pageOf(name, blocksOf(readFileSync(join(root, name), 'utf8'))),
  )
}

function blocksOf(text: string): Block[] {
  return [...text.matchAll(/^```(\w*)(.*)\n([\s\S]*?)^```$/gm)].map(
    ({ 1: language, 2: words, 3: code, index }) => {
      return {
        language,
        words: words.split(' ').filter(Boolean),
        code,
        line: text.slice(0, index).split('\n').length,
      }
    },
  )
}

/**
 * The words behind a block's language say how it is tested:
 *
 *     ts          runs, together with the blocks of the page before it
 *     ts new      runs, the first of another program
 *     ts native   as ts, but it needs the native device, and is left out where there is none
 *     ts types    is type-checked alone: it needs a browser, a download or a large model
 *     sh          runs, in the folder of the page's programs and after them
 *     sh shown    does not run: it installs, or starts a server
 *     text printed    is part of what the programs and scripts before print; … stands for anything
 */
function pageOf(name: string, blocks: Block[]): Page {
  const page: Page = { name, programs: [], typed: [], script: '', printed: [] }
  const programs: string[][] = []
  for (const { language, words, code, line } of blocks) {
    const kind = [language, ...words].join(' ')
    if (kind === 'ts new' || (kind === 'ts' && programs.length === 0)) programs.push([code])
    else if (kind === 'ts') programs[programs.length - 1].push(code)
    else if (kind === 'ts native') {
      if (deviceNames.includes('native')) programs[programs.length - 1].push(code)
    } else if (kind === 'ts types') page.typed.push(code)
    else if (kind === 'sh') page.script += code
    else if (kind === 'text printed') page.printed.push(code)
    else if (!['sh shown', 'python shown', 'text', 'html', 'json'].includes(kind))
      throw new Error(`${name}:${line}: no test knows blocks of the kind "${kind}"`)
  }
  page.programs = programs.map(joined)
  return page
}

/** Blocks as one module, each name imported once. */
function joined(blocks: string[]): string {
  const names = new Map<string, Set<string>>()
  const rest = blocks
    .join('\n')
    .replace(/^import \{([^}]*)\} from '([^']+)'\n/gm, (_, list: string, from: string) => {
      const known = names.get(from) ?? new Set()
      names.set(from, known)
      for (const name of list.split(',')) if (name.trim() !== '') known.add(name.trim())
      return ''
    })
  const imports = [...names].map(([from, list]) => `import { ${[...list].join(', ')} } from '${from}'\n`)
  return `${imports.join('')}${rest}\nexport {}\n`
}
