import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

/*
 * A map that is not checked rots: the files that ARCHITECTURE.md and CONTRIBUTING.md name are there, and the
 * table of doors names every room in which guests arrive.
 */

const root = join(import.meta.dirname, '../..')
const read = (name: string) => readFileSync(join(root, name), 'utf8')

test('every link of ARCHITECTURE.md leads to a file, and what a door is called stands in it', () => {
  const links = [...read('ARCHITECTURE.md').matchAll(/\]\(([^)#]+)\)/g)].map(([, path]) => path)
  assert.ok(links.length > 30, `${links.length} links`)
  const missing = links.filter((path) => !path.startsWith('http') && !existsSync(join(root, path)))
  assert.deepEqual(missing, [])
  const doors = [...read('ARCHITECTURE.md').matchAll(/^\| [^|]+ \| \[[^\]]+\]\(([^)]+)\), `([\w.]+)` \|/gm)]
  assert.ok(doors.length >= 10, `${doors.length} doors with a name`)
  for (const [, path, name] of doors) {
    const word = new RegExp(`\\b${name.split('.').at(-1)}\\b`)
    assert.match(read(path), word, `${path} must hold ${name}`)
  }
})

test('every path of the recipes in CONTRIBUTING.md is there', () => {
  const recipes = read('CONTRIBUTING.md').slice(read('CONTRIBUTING.md').indexOf('## Recipes'))
  const named = [...recipes.matchAll(/`((?:src|native|test|scripts|bench)\/[\w./-]+)`/g)].map(
    ([, path]) => path,
  )
  assert.ok(named.length > 20, `${named.length} paths`)
  assert.deepEqual(
    named.filter((path) => !path.includes('<') && !existsSync(join(root, path))),
    [],
  )
})

test('every scheme, family and cache is an entry of its table', () => {
  for (const [folder, beside] of [
    ['src/formats/schemes', ['index.ts', 'scheme.ts']],
    ['src/models/families', ['index.ts', 'family.ts']],
  ] as const) {
    const table = read(`${folder}/index.ts`)
    const files = readdirSync(join(root, folder)).filter(
      (name) => !(beside as readonly string[]).includes(name),
    )
    const entries = files.filter((name) =>
      /export const \w+: (Scheme|Family)\b/.test(read(`${folder}/${name}`)),
    )
    assert.ok(entries.length >= 3, folder)
    for (const name of entries)
      assert.ok(table.includes(`'./${name}'`), `${folder}/${name} is not in the table`)
  }
})
