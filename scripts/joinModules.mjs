import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { build } from 'esbuild'

/** The modules that keep their place: what is imported by name, and what finds a file beside itself. */
const entries = [
  'cli/main.js',
  'core/host.browser.js',
  'core/host.node.js',
  'formats/files.browser.js',
  'formats/files.node.js',
]

/**
 * Workers are a file each: none waits for what it does not use. The one of browsers lies beside what starts
 * it.
 */
const workers = {
  'devices/cpu/wasmWorker.node.js': 'devices/cpu/wasmWorker.node.js',
  'devices/cpu/wasmWorker.browser.js': 'core/lowbit-worker.js',
}

/**
 * Joins the modules that lie in the folder `from` into a few files in `to`, which Node loads in a fifth of the
 * time of 400: of what index.js imports, one for each room; what is imported when it is used stays apart.
 */
export async function joinModules(from, to) {
  const options = {
    ...{ bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning', absWorkingDir: from },
    ...{ outdir: to, outbase: from, write: false, metafile: true, packages: 'external' },
    // The package's own imports, which the platform chooses.
    external: ['#host', '#files'],
  }
  const { joined, apart } = await importedBy('index.js', options)
  const exports = await exportsOf(joined, options)
  const rooms = new Map(joined.map((module) => [roomOf(module), []]))
  for (const module of joined) rooms.get(roomOf(module)).push(module)
  const plugins = [roomPlugin(from, rooms, exports, new Set(apart))]
  const inRooms = [...rooms.keys()].map((room) => ({ in: `entry:${room}`, out: `rooms/${room}` }))
  const results = [
    await build({ ...options, plugins, entryPoints: [{ in: 'index.js', out: 'index' }, ...inRooms] }),
    await build({
      ...{ ...options, plugins, entryPoints: [...new Set([...entries, ...apart])] },
      ...{ splitting: true, chunkNames: 'chunks/[name]-[hash]' },
    }),
  ]
  for (const [worker, out] of Object.entries(workers)) {
    const entryPoints = [{ in: worker, out: out.replace(/\.js$/, '') }]
    results.push(await build({ ...options, entryPoints }))
  }
  for (const { path, text } of results.flatMap(({ outputFiles }) => outputFiles)) {
    const place = (file) => {
      const way = relative(dirname(path), join(to, file)).replaceAll('\\', '/')
      return way.startsWith('.') ? way : `./${way}`
    }
    mkdirSync(dirname(path), { recursive: true })
    const withPaths = text.replace(/"lowbit-file:([^"]+)"/g, (_, file) => JSON.stringify(place(file)))
    writeFileSync(path, withPaths.replace(/^\/\/ (room|entry):.*\n/gm, ''))
  }
  chmodSync(join(to, 'cli', 'main.js'), 0o755)
}

const roomOf = (module) => module.split('/')[0]

/** The modules that one imports, whatever is between; and those that it imports when it uses them. */
async function importedBy(entry, options) {
  const { metafile } = await build({ ...options, entryPoints: [entry], splitting: true })
  const [joined, apart] = [new Set([entry]), new Set()]
  for (const module of joined)
    for (const { path, kind, external } of metafile.inputs[module].imports)
      if (!external) (kind === 'dynamic-import' ? apart : joined).add(path)
  joined.delete(entry)
  return { joined: [...joined], apart: [...apart].filter((module) => !joined.has(module)) }
}

/** What each module exports, and under which name its room does: the same, where no other module has it. */
async function exportsOf(modules, options) {
  const { metafile } = await build({ ...options, entryPoints: modules, splitting: true })
  const names = Object.values(metafile.outputs).flatMap(({ entryPoint, exports }) =>
    modules.includes(entryPoint) ? [[entryPoint, exports]] : [],
  )
  const taken = new Set()
  return new Map(
    names.map(([module, exports]) => [
      module,
      exports.map((name) => {
        let alias = name
        while (taken.has(`${roomOf(module)} ${alias}`)) alias += '_'
        taken.add(`${roomOf(module)} ${alias}`)
        return { name, alias }
      }),
    ]),
  )
}

/**
 * Makes a room's file of its modules; imports of other rooms, and of what stays apart, become those of their
 * files, `lowbit-file:PATH` from the root of what is built.
 */
function roomPlugin(from, rooms, exports, apart) {
  const nameOf = (path) => relative(from, path).replaceAll('\\', '/')
  const list = (names, path) => (names ? `export { ${names} } from ${JSON.stringify(path)}\n` : '')
  return {
    name: 'rooms',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^entry:/ }, ({ path }) => ({ path: path.slice(6), namespace: 'entry' }))
      onLoad({ filter: /.*/, namespace: 'entry' }, ({ path: room }) => {
        const lines = rooms.get(room).map((module) => {
          const names = exports.get(module).map(({ name, alias }) => `${name} as ${alias}`)
          return list(names.join(', '), `./${module}`)
        })
        return { contents: lines.join(''), resolveDir: from }
      })
      onResolve({ filter: /^lowbit-file:/ }, ({ path }) => ({ path, external: true, sideEffects: false }))
      onResolve({ filter: /^\./ }, ({ path, resolveDir, importer, kind, namespace }) => {
        const [own, module] = [nameOf(importer), nameOf(join(resolveDir, path))]
        if (kind === 'dynamic-import' && apart.has(module))
          return { path: `lowbit-file:${module}`, external: true }
        const isWithin = namespace === 'entry' || (exports.has(own) && roomOf(own) === roomOf(module))
        if (isWithin || !exports.has(module)) return undefined
        return { path: module, namespace: 'room', sideEffects: false }
      })
      onLoad({ filter: /.*/, namespace: 'room' }, ({ path: module }) => {
        const names = exports.get(module).map(({ name, alias }) => `${alias} as ${name}`)
        return { contents: list(names.join(', '), `lowbit-file:rooms/${roomOf(module)}.js`) }
      })
    },
  }
}
