// npm run test:interop: the tests against Python libraries. Those of test/interop itself always run; those of
// its folders, each of which has a virtual environment of its own, take turns by the number of commits.
// LOWBIT_INTEROP=all runs all of them, LOWBIT_INTEROP=gptq,hqq those named.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

process.chdir(join(import.meta.dirname, '..'))
const place = 'test/interop'
const entries = readdirSync(place, { withFileTypes: true })
const first = entries.filter((entry) => entry.name.endsWith('.test.ts')).map(({ name }) => name)
const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
const environments = folders.filter((name) => readdirSync(join(place, name)).includes('requirements.txt'))
const chosen = chosenFrom(environments.sort())
console.log(`interop: test/interop and, of ${environments.join(', ')}: ${chosen.join(', ')}`)
process.argv.push(...[...first.sort(), ...chosen].map((name) => join(place, name)))
await import('./test.mjs')

function chosenFrom(names) {
  const asked = process.env.LOWBIT_INTEROP
  if (asked === 'all') return names
  if (asked) {
    const unknown = asked.split(',').find((name) => !names.includes(name))
    if (unknown === undefined) return asked.split(',')
    console.error(`interop: LOWBIT_INTEROP must name of ${names.join(', ')}, or be all; it names ${unknown}`)
    process.exit(1)
  }
  const { stdout } = spawnSync('git', ['rev-list', '--count', 'HEAD'], { encoding: 'utf8' })
  // Without a history the first has its turn.
  return names.length > 0 ? [names[(Number(stdout) || 0) % names.length]] : []
}
