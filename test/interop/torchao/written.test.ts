import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { save } from '../../../src/checkpoints/save.ts'
import { type QType, qint2, qint3, qint4, unsignedType } from '../../../src/core/qtype.ts'
import { openDevice } from '../../../src/devices/open.ts'
import { loadCausalLM } from '../../../src/models/load.ts'
import { QTensor } from '../../../src/qtensor/qtensor.ts'
import type { QuantizeOptions } from '../../../src/quantize/quantize.ts'
import { freeze, quantize } from '../../../src/quantize/quantize.ts'
import {
  float8WeightOnly,
  int8DynamicActivationInt8Weight,
  int8DynamicActivationIntxWeight,
  int8WeightOnly,
  intxWeightOnly,
} from '../../../src/quantize/recipes.ts'
import { readGolden } from '../../golden.ts'
import { stories } from '../../models/golden.ts'
import { findPython, runJobs } from '../python.ts'

/*
 * Folders that lowbit writes are read by their own library, which makes the weights of them that lowbit has.
 */

interface Written {
  readonly library: 'mlx' | 'hqq' | 'torchao' | 'bitnet'
  /** What the model is saved as. */
  readonly format: string
  readonly options: QuantizeOptions
}

const noDown = ['lm_head', '*.down_proj']
const mlx = (bits: number): Written => ({
  library: 'mlx',
  format: 'mlx',
  options: { weights: unsignedType(bits), groupSize: 32, algorithm: 'mlx', exclude: noDown },
})
const hqq = (weights: QType): Written => ({
  ...{ library: 'hqq', format: 'hqq' },
  options: { weights, groupSize: 32, algorithm: 'hqqZeros', exclude: noDown },
})
const written: Record<string, Written> = {
  'bitnet, as its own library rounds floats': {
    ...{ library: 'bitnet', format: 'bitnet' },
    options: { weights: 'int2', groupSize: null, blockRows: null, algorithm: 'ternary', exclude: 'lm_head' },
  },
  'mlx of 4 bits': mlx(4),
  'mlx of 3 bits': mlx(3),
  'mlx of 8 bits': mlx(8),
  'hqq of 4 bits': hqq(qint4),
  'hqq of 3 bits': hqq(qint3),
  'hqq of 2 bits': hqq(qint2),
  'torchao int8': {
    library: 'torchao',
    format: 'torchao',
    options: { ...int8WeightOnly(), exclude: 'lm_head' },
  },
  'torchao dynamic int8': {
    ...{ library: 'torchao', format: 'torchao' },
    options: { ...int8DynamicActivationInt8Weight(), exclude: 'lm_head' },
  },
  'torchao int4': {
    ...{ library: 'torchao', format: 'torchao' },
    options: { ...intxWeightOnly({ weightDtype: 'int4', groupSize: 32 }), exclude: noDown },
  },
  'torchao int3 of a range, inputs of 8 bits': {
    ...{ library: 'torchao', format: 'torchao' },
    options: {
      ...int8DynamicActivationIntxWeight({ weightDtype: 'int3', mapping: 'asymmetric' }),
      exclude: noDown,
    },
  },
  'torchao float8': {
    library: 'torchao',
    format: 'torchao',
    options: { ...float8WeightOnly(), exclude: 'lm_head' },
  },
}

const folder = mkdtempSync(join(tmpdir(), 'lowbit-written-'))
const place = (name: string) => join(folder, name.replaceAll(/[ ,]+/g, '-'))

before(async () => {
  for (const [name, { options, format }] of Object.entries(written)) {
    using model = await loadCausalLM(stories)
    quantize(model, options)
    freeze(model)
    await save(model, place(name), { format })
  }
  const jobs = Object.entries(written).map(([name, { library }]) => {
    return { library, folder: place(name), out: `${place(name)}.safetensors` }
  })
  await runJobs(await findPython('torchao'), jobs, folder, 'torchao/peer.py')
})

after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await openDevice().close()
})

for (const name of Object.keys(written)) {
  test(`${name}: its library makes our weights of the folder`, async () => {
    using model = await loadCausalLM(place(name))
    const python = await readGolden(`${place(name)}.safetensors`)
    const paths: string[] = []
    for (const [path, weight] of model.namedParameters()) {
      if (!(weight instanceof QTensor)) continue
      paths.push(path)
      using float = weight.dequantize()
      const theirs = python.get(path)?.values ?? []
      assert.ok(
        (await float.toNumbers()).every((value, i) => value === theirs[i]),
        path,
      )
    }
    assert.ok(paths.length > 0)
    assert.deepEqual(paths.sort(), [...python.keys()].sort())
  })
}
