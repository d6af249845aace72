// Makes what is published, into build/packages: a tarball for each platform of which there is a prebuilt
// addon, and the main one.
//
//   npm run build:platforms && npm run package
//
// Only the published manifest names the platforms' packages, so that a clone's `npm ci` does not look for
// them.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = join(root, 'build', 'packages')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const platforms = JSON.parse(readFileSync(join(root, 'native', 'platforms.json'), 'utf8'))
const { version, license, homepage, bugs, repository, engines } = manifest

run(process.execPath, ['scripts/build.mjs'])
rmSync(target, { recursive: true, force: true })
const addonOf = (name) => join(root, 'build', 'prebuilds', name, 'lowbit.node')
const names = Object.keys(platforms).filter((name) => existsSync(addonOf(name)))
const missing = Object.keys(platforms).filter((name) => !names.includes(name))
if (missing.length > 0)
  console.warn(`lowbit: packed without ${missing.join(', ')}; "npm run build:platforms" makes all`)
for (const name of names) packPlatform(name)
packMain()

function packPlatform(name) {
  const { os, cpu, libc } = platforms[name]
  const description = `The native addon of lowbit for ${name}.`
  const folder = join(target, name)
  mkdirSync(folder, { recursive: true })
  cpSync(addonOf(name), join(folder, 'lowbit.node'))
  for (const file of ['LICENSE', 'NOTICE']) cpSync(join(root, file), join(folder, file))
  writeFileSync(
    join(folder, 'README.md'),
    `# @lowbit/${name}\n\n${description} [lowbit](${homepage}) installs it by itself.\n`,
  )
  pack(folder, {
    ...{ name: `@lowbit/${name}`, version, description, license, homepage, bugs, repository, engines },
    ...{ os: [os], cpu: [cpu], ...(libc && { libc: [libc] }) },
    ...{ main: 'lowbit.node', files: ['lowbit.node', 'NOTICE'], publishConfig: { access: 'public' } },
  })
}

function packMain() {
  const folder = join(target, 'lowbit')
  for (const name of ['models', 'LICENSE', 'NOTICE', 'README.md'])
    cpSync(join(root, name), join(folder, name), { recursive: true })
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  removeInnerTypes(join(folder, 'dist'))
  addCommonJS(join(folder, 'dist'), join(folder, 'dist', 'commonjs'))
  const { scripts, devDependencies, allowScripts, ...published } = manifest
  pack(folder, {
    ...published,
    optionalDependencies: Object.fromEntries(names.map((name) => [`@lowbit/${name}`, version])),
  })
}

/** Takes away the types that those of the public modules do not mention. */
function removeInnerTypes(folder) {
  const mentioned = new Set()
  const read = (file) => {
    if (mentioned.has(file)) return
    mentioned.add(file)
    for (const [, path] of readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g))
      read(join(dirname(file), path.replace(/\.[jt]s$/, '.d.ts')))
  }
  read(join(folder, 'index.d.ts'))
  for (const name of readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.d.ts')))
    if (!mentioned.has(join(folder, name))) rmSync(join(folder, name))
}

/**
 * What `require` gets: the module itself; and the types again, since a folder's manifest tells TypeScript for
 * whom they are.
 */
function addCommonJS(from, to) {
  const types = readdirSync(from, { recursive: true }).filter((name) => name.endsWith('.d.ts'))
  for (const name of types) cpSync(join(from, name), join(to, name))
  writeFileSync(join(to, 'package.json'), '{ "type": "commonjs" }\n')
  writeFileSync(join(to, 'index.js'), "module.exports = require('../index.js')\n")
}

function pack(folder, published) {
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(published, null, 2)}\n`)
  run('npm', ['pack', '--silent', '--pack-destination', target, folder])
}

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
