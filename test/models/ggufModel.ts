import { readFileSync } from 'node:fs'
import type { Device } from '../../src/devices/device.ts'
import { type ByteSource, bytesSource } from '../../src/formats/source.ts'
import type { CausalLM } from '../../src/models/causalLM.ts'
import { planGguf } from '../../src/models/ggufPlan.ts'
import { parameterPaths } from '../../src/models/plan.ts'
import { fixtures } from '../formats/ggufBytes.ts'

export const kinds = ['q4_0', 'q5_1', 'q8_0'] as const

/** A file that the Python package wrote. */
export function storiesSource(kind: string): ByteSource {
  return bytesSource(readFileSync(`${fixtures}stories260K-${kind}.gguf`), kind)
}

/** Loads every parameter of a file's plan. */
export async function loadGguf(device: Device, source: ByteSource): Promise<CausalLM> {
  const { model, parameters, close } = await planGguf(source)
  const uses = new Map([...parameterPaths(model).values()].map((paths) => [paths[0], paths]))
  try {
    for (const { path, load } of parameters) {
      const parameter = await load(device)
      for (const use of uses.get(path) ?? []) model.setParameter(use, parameter)
      await device.sync()
    }
    return model
  } finally {
    await close()
  }
}
