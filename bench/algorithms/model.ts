import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dequantize, loadCausalLM, openDevice, save } from '../../src/index.ts'
import type { Decoder } from '../../src/models/decoder.ts'

/**
 * SmolLM2-135M-Instruct as floats in Hugging Face layout, made of the GGUF of `npm run test:large` in
 * LOWBIT_CACHE, where it stays.
 * @param layers how many of its 30 layers it has
 */
export async function floatModel(layers: number): Promise<string> {
  const cache = process.env.LOWBIT_CACHE ?? join(import.meta.dirname, '../../.cache')
  const folder = join(cache, `SmolLM2-135M-float-${layers}`)
  if (existsSync(folder)) return folder
  const device = openDevice('cpu', { threads: 2 })
  const file = join(cache, 'SmolLM2-135M-Instruct.Q4_1.gguf')
  const model = await loadCausalLM(file, { device })
  dequantize(model)
  const { layers: blocks } = model.getModule('model') as unknown as Decoder
  ;(blocks as unknown[]).splice(layers)
  try {
    await save(model, folder)
    const config = join(folder, 'config.json')
    const written = { ...JSON.parse(readFileSync(config, 'utf8')), num_hidden_layers: layers }
    writeFileSync(config, `${JSON.stringify(written, null, 2)}\n`)
    return folder
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  } finally {
    await device.close()
  }
}
