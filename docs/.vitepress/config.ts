import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const docs = fileURLToPath(new URL('..', import.meta.url))
const manifest = JSON.parse(readFileSync(join(docs, '../package.json'), 'utf8'))
/** Where the repository's files can be seen; undefined as long as the package does not say. */
const repository: string | undefined = manifest.repository?.url?.replace(/^git\+|\.git$/g, '')

/** The page of the API reference about each export, by name. */
const api = new Map(
  (existsSync(join(docs, 'api')) ? readdirSync(join(docs, 'api'), { recursive: true }) : [])
    .map(String)
    .filter((path) => path.endsWith('.md') && !path.endsWith('index.md'))
    .map((path) => [basename(path, '.md'), `./api/${path.replace(/\\/g, '/')}`]),
)

/**
 * Links that lead out of the documentation, as they must where the pages are read as files: in the list of
 * exports to the API reference, elsewhere to the repository.
 */
function sitePath(href: string, page: string, text: string): string | undefined {
  if (!href.startsWith('../')) return href
  if (page === 'exports.md' && api.has(text)) return api.get(text)
  return repository && `${repository}/blob/main/${href.slice(3)}`
}

const pages = (entries: [text: string, file: string][]) =>
  entries.map(([text, file]) => ({ text, link: `/${file}` }))
const guide = pages([
  ['What it is', ''],
  ['Getting started', 'getting-started'],
  ['Choosing settings', 'settings'],
  ['Calibrated quantization', 'calibrated'],
  ['Your own modules', 'modules'],
  ['Training and QAT', 'training'],
  ['Chat and streaming', 'chat'],
  ['Server', 'serve'],
  ['In the browser', 'browser'],
  ['Memory', 'memory'],
])
const reference = pages([
  ['Language models', 'families'],
  ['File formats', 'formats'],
  ['Command line', 'commands'],
  ['Coming from PyTorch', 'pytorch'],
  ['Speed', 'speed'],
  ['Kernels', 'kernels'],
  ['Evaluation figures', 'evaluation'],
  ['All exports', 'exports'],
  ['API reference', 'api/'],
])

export default defineConfig({
  title: 'lowbit',
  description: manifest.description,
  base: process.env.LOWBIT_DOCS_BASE ?? '/',
  lang: 'en',
  cleanUrls: true,
  head: [
    [
      'link',
      {
        rel: 'icon',
        href: 'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><path d="M0 0h1v4H0zM2 2h2v2H2z" fill="%233b6fd4"/></svg>',
      },
    ],
  ],
  markdown: {
    config: (md) => {
      md.core.ruler.push('paths-out-of-the-site', ({ tokens, env }) => {
        for (const { children } of tokens) {
          for (const [i, token] of (children ?? []).entries()) {
            if (token.type !== 'link_open') continue
            const path = sitePath(
              token.attrGet('href') ?? '',
              env.relativePath ?? '',
              children?.[i + 1]?.content ?? '',
            )
            if (path) token.attrSet('href', path)
            else token.attrs = []
          }
        }
      })
    },
  },
  themeConfig: {
    nav: [
      { text: 'Guide', link: '/getting-started' },
      { text: 'Settings', link: '/settings' },
      { text: 'API', link: '/api/' },
    ],
    sidebar: [
      { text: 'Guide', items: guide },
      { text: 'Look up', items: reference },
    ],
    outline: [2, 3],
    search: { provider: 'local' },
    socialLinks: repository ? [{ icon: 'github', link: repository }] : [],
    footer: { message: 'Apache-2.0' },
  },
})
