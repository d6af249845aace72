// npm run quickstart: builds what is about to be used, then runs the main job on the embedded model, both on
// the Node that started npm (npm itself would take the one among the devDependencies).
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const node = process.env.npm_node_execpath ?? process.execPath
for (const [file, ...options] of [['./build.mjs', '--first-run'], ['../examples/quickstart.mjs']]) {
  const { status } = spawnSync(node, [fileURLToPath(new URL(file, import.meta.url)), ...options], {
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 1)
}
