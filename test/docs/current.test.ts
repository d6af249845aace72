import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { root } from './blocks.ts'

const pages = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))

test("tables of figures, the commands' help and the list of exports are current", () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/readme.mjs'), '--check'], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
})

test('links between the pages, and from them to the sources, lead somewhere', () => {
  const broken = ['README.md', ...pages.map((name) => `docs/${name}`)].flatMap((page) => {
    const text = readFileSync(join(root, page), 'utf8').replace(/^```[\s\S]*?^```/gm, '')
    return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, href]) => {
      const [path, anchor] = href.split('#')
      if (/^https?:/.test(path)) return []
      const target = path === '' ? join(root, page) : join(root, dirname(page), path)
      const found = existsSync(target) && (!anchor || anchors(readFileSync(target, 'utf8')).includes(anchor))
      return found ? [] : [`${page}: ${href}`]
    })
  })
  assert.deepEqual(broken, [])
})

test('the site has every page in its sidebar', () => {
  const config = readFileSync(join(root, 'docs/.vitepress/config.ts'), 'utf8')
  const absent = pages.filter((name) => name !== 'index.md' && !config.includes(`'${name.slice(0, -3)}'`))
  assert.deepEqual(absent, [])
})

/** The anchors of a page's headings, as forges and VitePress make them. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} -]/gu, '')
      .replaceAll(' ', '-'),
  )
}
