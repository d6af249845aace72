import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { diskFolder } from '../../src/formats/file.node.ts'
import { weightKind } from '../../src/formats/schemes/weightKind.ts'
import { planCausalLM } from '../../src/models/load.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { golden } from '../golden.ts'

/* A weight without codes, or with those of its file, is what the whole weight is. */

const device = openDevice('cpu', { threads: 2 })
after(() => device.close())

/** The tensors that hold codes, by a checkpoint. */
const models: Record<string, RegExp> = {
  'stories260K/gptq-w4-g32-sym': /\.qweight$/,
  'stories260K/gptq-w4-g32-asym-desc_act': /\.qweight$/,
  'stories260K/gptq-w8-g32-sym': /\.qweight$/,
  'stories260K/awq-gemm-g32-attn': /\.qweight$/,
  'stories260K/ct-w4a16-asym': /\.weight_packed$/,
  'stories260K/ct-nvfp4': /\.weight_packed$/,
  'stories260K/ct-w8a8': /proj\.weight$/,
  'stories260K/bnb-int8': /proj\.weight$/,
  'stories260K/fp8-finegrained-b32': /proj\.weight$/,
  'stories260K/mlx-w4-g64': /proj\.weight$/,
  'stories260K/quanto-qint4': /\._data/,
}

for (const [id, codes] of Object.entries(models))
  test(`${id}: a weight without codes, and with the words of the file`, async () => {
    const plan = await planCausalLM(diskFolder(join(golden, id)))
    const { file } = plan
    const names: string[] = []
    const { readRows } = file
    file.readRows = (name, ...rows) => {
      names.push(name)
      return readRows.call(file, name, ...rows)
    }
    let count = 0
    for (const planned of plan.parameters) {
      if (!planned.weight) continue
      using looked = await planned.loadAs('none', device)
      assert.ok(looked instanceof QTensor)
      assert.ok(!names.some((name) => codes.test(name)), names.join())
      using whole = await planned.load(device)
      assert.ok(whole instanceof QTensor)
      assert.ok(names.some((name) => codes.test(name)))
      using passing = await planned.loadAs('words', device)
      assert.ok(passing instanceof QTensor)
      using there = passing.codes()
      using here = whole.codes()
      assert.deepEqual(await there.read(), await here.read())
      assert.deepEqual(await weightKind(looked), await weightKind(whole))
      using scale = looked.scale('float32')
      using same = whole.scale('float32')
      assert.deepEqual(await scale.read(), await same.read())
      names.length = 0
      count++
    }
    assert.ok(count > 0)
    plan.model.dispose()
    await plan.close()
  })
