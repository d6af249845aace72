import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { openDevice } from '../../src/devices/open.ts'
import { relativeError } from '../../src/evaluate/weightError.ts'
import { schemes } from '../../src/formats/schemes/index.ts'
import { loadCausalLM, planCausalLM } from '../../src/models/load.ts'
import { convertedFiles, sources, targets } from './conversions.ts'

/*
 * Every pair of formats: what was written is what the plan says, tensor by tensor.
 */

const device = openDevice('cpu')
after(async () => {
  assert.equal(device.allocatedBytes, 0)
  await device.close()
})

test('every scheme is among the sources, but those of which there is no folder of this model', async () => {
  const found = new Set<string>()
  for (const place of Object.values(sources)) {
    const plan = await planCausalLM(place)
    found.add(plan.scheme)
    await plan.close()
  }
  assert.deepEqual(
    schemes.map(({ name }) => name).filter((name) => !found.has(name)),
    ['awq_gemv', 'mxfp4'],
  )
})

/** All pairs, or one of four, each source with other targets than the next: LOWBIT_CONVERSIONS=all takes all. */
const isTaken = (place: number) => process.env.LOWBIT_CONVERSIONS === 'all' || place % 4 === 0

for (const [i, [name, source]] of Object.entries(sources).entries())
  describe(name, () => {
    for (const to of targets.filter((_, j) => isTaken(i + j)))
      test(`→ ${to}`, async () => {
        const { tensors, place } = await convertedFiles(source, to, device)
        using before = await loadCausalLM(source, { device, dequantize: true, onWarning: () => {} })
        using made = await loadCausalLM(place, { device, dequantize: true, onWarning: () => {} })
        for (const { path, exact, error } of tensors) {
          const measured = await relativeError(before.getParameter(path), made.getParameter(path))
          // Written scales are those that were planned with; products of halves may be rounded by another rule.
          if (exact) assert.equal(error, 0)
          assert.ok(
            Math.abs(measured - (error as number)) <= 2 ** -9,
            `${path}: ${measured}, planned ${error}`,
          )
        }
      })
  })
