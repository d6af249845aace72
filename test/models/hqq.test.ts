import assert from 'node:assert/strict'
import { join } from 'node:path'
import { diskFolder } from '../../src/formats/file.node.ts'
import { generateTokens } from '../../src/models/generate.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { golden, goldenItem } from '../golden.ts'
import { testOnDevices } from '../tensor/devices.ts'
import { type GoldenScheme, testItems } from './schemeChecks.ts'

/* HQQ's folders, in which groups of 64 cross the rows of 172 columns. */

testItems('HQQ', [
  'stories260K/hqq-w2-g64',
  'stories260K/hqq-w3-g64',
  'stories260K/hqq-w4-g64',
  'stories260K/hqq-w8-g64',
  'stories260K/hqq-mixed',
])

testOnDevices(
  'a loaded model generates at once: its products are recorded before any has run',
  async (device) => {
    const id = 'stories260K/hqq-w4-g64'
    using model = await loadCausalLM(diskFolder(join(golden, id)), { device })
    const { greedy_ids } = goldenItem<GoldenScheme>(id).expected
    const tokens: number[] = []
    // The prompt of test/golden/stories260K/inputs.json.
    const prompt = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426]
    for await (const token of generateTokens(model, prompt, { maxNewTokens: 12, computeDtype: 'float32' }))
      tokens.push(token)
    assert.deepEqual(tokens, greedy_ids.slice(0, 12))
  },
)
