import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { after, test } from 'node:test'
import { readPages, root } from './blocks.ts'

/*
 * Every block of code in the README and the documentation runs, or is type-checked where it needs more than
 * there is here (blocks.ts says which). Each page has a folder of its own, in which the package seems to be
 * installed.
 */

const pages = readPages()
const twice = ['README.md', 'docs/getting-started.md']
// Within the package, so that `lowbit` is found.
const work = mkdtempSync(join(root, 'build/docs-'))
after(() => rmSync(work, { recursive: true, force: true }))
mkdirSync(join(work, 'bin'))
const lowbit = `#!/bin/sh\nexec '${process.execPath}' --conditions=lowbit-source '${join(root, 'src/cli/main.ts')}' "$@"\n`
writeFileSync(join(work, 'bin/lowbit'), lowbit, { mode: 0o755 })
writeFileSync(join(work, 'bin/npx'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 })
// It is installed already.
writeFileSync(join(work, 'bin/npm'), '#!/bin/sh\n[ "$*" = "install lowbit" ]\n', { mode: 0o755 })

const folders = new Map(pages.map(({ name }) => [name, join(work, name.replace(/\W/g, '-'))]))
for (const { name, programs, typed } of pages) {
  const folder = folders.get(name) as string
  mkdirSync(join(folder, 'node_modules'), { recursive: true })
  symlinkSync(root, join(folder, 'node_modules/lowbit'))
  for (const [i, code] of programs.entries()) writeFileSync(join(folder, `program${i}.ts`), code)
  for (const [i, code] of typed.entries()) writeFileSync(join(folder, `typed${i}.ts`), `${code}\nexport {}\n`)
}

test('there is code to run', () => {
  assert.ok(pages.flatMap(({ programs }) => programs).length >= 8)
  assert.ok(pages.filter(({ script }) => script !== '').length >= 3)
})

test('all TypeScript of the pages is sound', () => {
  writeFileSync(
    join(work, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.json', include: ['*/*.ts'] }),
  )
  const { stdout, status } = run('node_modules/typescript/bin/tsc', ['-p', join(work, 'tsconfig.json')], root)
  assert.equal(status, 0, stdout)
})

for (const { name, programs, script, printed } of pages) {
  if (programs.length === 0 && script === '') continue
  test(`the code of ${name} runs`, () => {
    const folder = folders.get(name) as string
    let output = ''
    const finished = ({ status, stdout, stderr }: ReturnType<typeof run>, what: string) => {
      output += stdout
      assert.equal(status, 0, `${name}: ${what}\n${stdout}\n${stderr}`)
    }
    // What a reader tries first is tried twice: the second time, what it saved is there.
    for (let times = twice.includes(name) ? 2 : 1; times > 0; times--)
      for (const [i, program] of programs.entries())
        finished(run('--conditions=lowbit-source', [`program${i}.ts`], folder), program)
    const env = { ...process.env, PATH: [join(work, 'bin'), process.env.PATH].join(delimiter) }
    finished(spawnSync('sh', ['-e', '-c', script], { cwd: folder, env, encoding: 'utf8' }), script)
    for (const text of printed)
      assert.match(output, pattern(text), `${name} says that it prints\n${text}\nit prints\n${output}`)
  })
}

function run(first: string, args: string[], cwd: string) {
  return spawnSync(process.execPath, [first, ...args], { cwd, encoding: 'utf8' })
}

/** A text in which … stands for anything. */
function pattern(text: string): RegExp {
  const parts = text.trim().split('…')
  return new RegExp(parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^]*?'))
}
