import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { load } from '../../src/checkpoints/load.ts'
import type { Device } from '../../src/devices/device.ts'
import { writeSafetensors } from '../../src/formats/safetensorsWriter.ts'
import { memoryFolder } from '../../src/formats/source.ts'
import { Linear } from '../../src/nn/linear.ts'
import { Module } from '../../src/nn/module.ts'
import { QTensor } from '../../src/qtensor/qtensor.ts'
import { type GoldenTensor, golden, readGolden } from '../golden.ts'

/*
 * Layers of one weight that compressed-tensors 0.20 compressed (scripts/make-compressed-tensors-fixtures.py).
 */

export const layers = await readGolden(join(golden, 'compressed/layers.safetensors'))
export const cases: Record<string, { format: string; weights: Record<string, unknown> }> = JSON.parse(
  readFileSync(join(golden, 'compressed/cases.json'), 'utf8'),
)

export class Net extends Module {
  fc = new Linear(128, 20, { bias: false })
}

export type Tensors = Record<string, Pick<GoldenTensor, 'dtype' | 'shape' | 'bytes'>>

/** The tensors of a case by the names that a model has them under. */
export function tensorsOf(name: string): Tensors {
  const found = [...layers].filter(([key]) => key.startsWith(`${name}.fc.`))
  assert.ok(found.length > 0, name)
  return Object.fromEntries(found.map(([key, tensor]) => [key.slice(name.length + 1), tensor]))
}

export async function folderOf(config: object, tensors: Tensors) {
  const chunks: Uint8Array[] = []
  await writeSafetensors(
    { write: async (bytes: Uint8Array) => void chunks.push(bytes.slice()) },
    Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => ({
      ...{ name, dtype, shape: [...shape] },
      bytes: () => bytes,
    })),
  )
  const json = new TextEncoder().encode(JSON.stringify({ quantization_config: config }))
  return memoryFolder(
    new Map([
      ['model.safetensors', Buffer.concat(chunks)],
      ['config.json', json],
    ]),
    'model',
  )
}

/** What config.json says of a case. */
export function settingsOf(name: string, more: object = {}, group: object = {}) {
  return {
    quant_method: 'compressed-tensors',
    quantization_status: 'compressed',
    format: cases[name].format,
    ignore: [],
    config_groups: { group_0: { targets: ['Linear'], weights: cases[name].weights, ...group } },
    ...more,
  }
}

/** A case as lowbit reads it; the net holds the weight. */
export async function loadCase(name: string, device: Device): Promise<{ net: Net; weight: QTensor }> {
  const net = await load(new Net(), await folderOf(settingsOf(name), tensorsOf(name)), { device })
  const weight = net.getParameter('fc.weight')
  assert.ok(weight instanceof QTensor, name)
  return { net, weight }
}
