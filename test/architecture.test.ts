import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

/** The rooms, in the order in which they may import: each from itself and those before it. */
const rooms = [
  'core',
  'kernels',
  'devices',
  'tensor',
  'qtensor',
  'nn',
  'quantize',
  'formats',
  'checkpoints',
  'models',
  'evaluate',
  'cli',
]
/** `formats` reads bytes into named tensors: it lies after these two but knows neither. */
const unknownToFormats = ['nn', 'quantize']
const source = fileURLToPath(new URL('../src', import.meta.url))
const root = dirname(source)
const files = readdirSync(source, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join(source, name))

interface Import {
  file: string
  from: string
  typeOnly: boolean
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8')
  const statements = text.matchAll(
    /^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'|\bimport\(\s*'([^']+)'/gm,
  )
  return [...statements].map(([, type, from, bare, dynamic]) => ({
    file,
    from: from ?? bare ?? dynamic,
    typeOnly: type !== undefined,
  }))
}

const imports = files.flatMap(importsOf)
const roomOf = (path: string) => relative(source, path).split(/[\\/]/)[0]
const show = (path: string) => relative(root, path)

test('a file imports only from its own room or from rooms before it', () => {
  const wrong = imports.flatMap(({ file, from }) => {
    if (!from.startsWith('.')) return []
    const [here, there] = [roomOf(file), roomOf(resolve(dirname(file), from))]
    if (here === 'index.ts') return []
    const allowed =
      rooms.includes(here) && rooms.includes(there) && rooms.indexOf(there) <= rooms.indexOf(here)
    const blind = here === 'formats' && unknownToFormats.includes(there)
    return allowed && !blind ? [] : [`${show(file)} imports ${from}`]
  })
  assert.deepEqual(wrong, [])
})

test('only *.node.ts files and cli import from Node', () => {
  const wrong = imports.filter(
    ({ file, from }) => from.startsWith('node:') && !file.endsWith('.node.ts') && roomOf(file) !== 'cli',
  )
  assert.deepEqual(
    wrong.map(({ file, from }) => `${show(file)} imports ${from}`),
    [],
  )
})

test('a *.node.ts file is imported only by others of its kind, by cli, or through package.json', () => {
  const wrong = imports.filter(
    ({ file, from }) => from.endsWith('.node.ts') && !file.endsWith('.node.ts') && roomOf(file) !== 'cli',
  )
  assert.deepEqual(
    wrong.map(({ file, from }) => `${show(file)} imports ${from}`),
    [],
  )
})

test('no cycles among value imports', () => {
  const graph = new Map<string, string[]>(files.map((file) => [file, []]))
  for (const { file, from, typeOnly } of imports) {
    if (from.startsWith('.') && !typeOnly) graph.get(file)?.push(resolve(dirname(file), from))
  }
  const state = new Map<string, 'open' | 'done'>()
  const cycles: string[] = []
  const visit = (file: string, path: string[]) => {
    if (state.get(file) === 'done') return
    if (state.get(file) === 'open') {
      cycles.push([...path.slice(path.indexOf(file)), file].map(show).join(' → '))
      return
    }
    state.set(file, 'open')
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    state.set(file, 'done')
  }
  for (const file of files) visit(file, [])
  assert.deepEqual(cycles, [])
})

test('the packages imported are those that package.json declares', () => {
  const declared = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const names = new Set([...Object.keys(declared.dependencies), ...Object.keys(declared.imports)])
  const wrong = imports.filter(
    ({ from }) => !from.startsWith('.') && !from.startsWith('node:') && !names.has(from),
  )
  assert.deepEqual(
    wrong.map(({ file, from }) => `${show(file)} imports ${from}`),
    [],
  )
})

test('no source file is longer than 400 lines', () => {
  const code = ['src', 'native', 'test', 'bench', 'examples', 'scripts'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) => join(root, folder, String(name))),
  )
  const long = code.filter(
    (file) =>
      !file.includes('node_modules') &&
      /\.(ts|mjs|cc|h|py)$/.test(file) &&
      readFileSync(file, 'utf8').split('\n').length > 401,
  )
  assert.deepEqual(long.map(show), [])
})
