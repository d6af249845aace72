import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { cache, root, run } from './environment.ts'

/*
 * The prebuilt addons of the platforms that this machine cannot run: what they are, what they need, what they
 * offer.
 */

const liefVersion = '1.0.0'

interface Platform {
  os: string
  cpu: string
  libc?: string
}
const platforms: Record<string, Platform> = JSON.parse(
  readFileSync(join(root, 'native/platforms.json'), 'utf8'),
)

/** What symbols.py prints of one file. */
interface Library {
  kind: string
  cpu: string
  libraries: string[]
  versions: string[]
  imported: string[]
  exported: string[]
}

const kinds: Record<string, { kind: string; cpus: Record<string, string>; libraries: RegExp }> = {
  linux: {
    kind: 'ELF',
    cpus: { x64: 'X86_64', arm64: 'AARCH64' },
    libraries: /^(lib(c|m|pthread|dl)\.so(\.\d)?|ld-linux-x86-64\.so\.2|ld-linux-aarch64\.so\.1)$/,
  },
  darwin: {
    kind: 'MachO',
    cpus: { x64: 'X86_64', arm64: 'ARM64' },
    libraries: /^(\/usr\/lib\/libSystem\.B\.dylib|@rpath\/lowbit\.node)$/,
  },
  // What every Windows from 10 on has, and the program itself.
  win32: {
    kind: 'PE',
    cpus: { x64: 'AMD64', arm64: 'ARM64' },
    libraries: /^(node\.exe|kernel32\.dll|ntdll\.dll|api-ms-win-crt-[\w-]+\.dll)$/i,
  },
}

/** The oldest glibc that Node 20 itself runs on. */
const oldestGlibc = 28

/** Node-API's functions up to version 8, which the addon is compiled for. */
const { v8 } = createRequire(import.meta.url)('node-api-headers').symbols
const nodeSymbols = new Set<string>([...v8.js_native_api_symbols, ...v8.node_api_symbols])

const addonOf = (name: string) => join(root, 'build', 'prebuilds', name, 'lowbit.node')
let libraries: Record<string, Library>

before(() => {
  const folder = join(cache, 'release-python')
  const python = join(folder, 'bin', 'python')
  if (!existsSync(join(folder, `lief-${liefVersion}`))) {
    run('python3', ['-m', 'venv', folder], root)
    run(python, ['-m', 'pip', 'install', '--quiet', `lief==${liefVersion}`], root)
    writeFileSync(join(folder, `lief-${liefVersion}`), '')
  }
  const files = Object.keys(platforms).map(addonOf)
  libraries = JSON.parse(run(python, [join(import.meta.dirname, 'symbols.py'), ...files], root))
})

for (const [name, { os, cpu, libc }] of Object.entries(platforms)) {
  test(`${name}: the addon has the right format, Node-API's entry, and asks for nothing but Node and the system`, () => {
    const library = libraries[addonOf(name)]
    const expected = kinds[os]
    assert.equal(library.kind, expected.kind)
    assert.equal(library.cpu, expected.cpus[cpu])
    const plain = (symbol: string) => (os === 'darwin' ? symbol.replace(/^_/, '') : symbol)
    const exported = library.exported.map(plain)
    // The linker for macOS keeps what C++ lets a program replace, and the header.
    const harmless = os === 'darwin' ? /^(_Z(na|nw|da|dl)\w+|__dso_handle|_mh_dylib_header)$/ : /^$/
    const entries = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
    assert.deepEqual(exported.filter((symbol) => !harmless.test(symbol)).sort(), entries)
    assert.deepEqual(
      library.libraries.filter((needed) => !expected.libraries.test(needed)),
      [],
    )
    const imported = library.imported.map(plain)
    const nodeApi = imported.filter((symbol) => /^(napi|node_api)_/.test(symbol))
    assert.ok(nodeApi.length > 10)
    assert.deepEqual(
      nodeApi.filter((symbol) => !nodeSymbols.has(symbol)),
      [],
    )
    // No C++ library is expected on the machine: its names are mangled.
    assert.deepEqual(
      imported.filter((symbol) => /^_Z/.test(symbol)),
      [],
    )
    const glibc = library.versions.map((version) => Number(/^GLIBC_2\.(\d+)/.exec(version)?.[1] ?? 0))
    if (libc === 'glibc') assert.ok(Math.max(...glibc) <= oldestGlibc, library.versions.join())
    else assert.deepEqual(library.versions, [])
  })
}

test("musl's loader finds all that its addon asks for, but Node", () => {
  const cpu = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const loader = `/lib/ld-musl-${cpu}.so.1`
  assert.ok(existsSync(loader), `${loader} must be there (Debian: musl)`)
  const said = spawnSync(loader, ['--list', addonOf(`linux-${process.arch}-musl`)], { encoding: 'utf8' })
  assert.match(said.stdout, /libc\.so => /)
  const complaints = said.stderr
    .split('\n')
    .filter((line) => line !== '' && !/: napi_\w+: symbol not found$/.test(line))
  assert.deepEqual(complaints, [])
})
