import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../../src/core/random.ts'
import {
  type Assignment,
  assign,
  assignmentCurve,
  type Choice,
  lowerHull,
} from '../../../src/quantize/budget/assignment.ts'

/* Bits by budget: against enumeration of all assignments. */

const random = new Random(7)
const upTo = (n: number) => 1 + (random.uint32() % n)

/** Losses in whole numbers, so that sums are exact; they need not fall with bits. */
function randomLayers(): Choice[][] {
  return Array.from({ length: upTo(5) }, () =>
    Array.from({ length: upTo(4) }, () => ({ bits: upTo(30), loss: upTo(100) })),
  )
}

function allAssignments(layers: readonly Choice[][]): Assignment[] {
  return layers.reduce<Assignment[]>(
    (some, choices) =>
      some.flatMap(({ chosen, bits, loss }) =>
        choices.map((choice, i) => ({
          chosen: [...chosen, i],
          bits: bits + choice.bits,
          loss: loss + choice.loss,
        })),
      ),
    [{ chosen: [], bits: 0, loss: 0 }],
  )
}

const leastLoss = (all: readonly Assignment[], budget: number) =>
  Math.min(...all.filter(({ bits }) => bits <= budget).map(({ loss }) => loss))

test('every point of the curve is the best of what takes no more bits', () => {
  for (let i = 0; i < 200; i++) {
    const layers = randomLayers()
    const all = allAssignments(layers)
    const curve = assignmentCurve(layers)
    for (const { bits, loss } of curve) assert.equal(loss, leastLoss(all, bits))
    assert.equal(curve[0].bits, Math.min(...all.map((each) => each.bits)))
    assert.equal(curve.at(-1)?.loss, leastLoss(all, Infinity))
  }
})

test('an assignment is within its budget, and loses at most one step over the best', () => {
  let exact = 0
  let tried = 0
  for (let i = 0; i < 200; i++) {
    const layers = randomLayers()
    const all = allAssignments(layers)
    const curve = assignmentCurve(layers)
    const smallest = curve[0].bits
    assert.equal(assign(layers, smallest - 1), null)
    for (let budget = smallest; budget <= smallest + 40; budget += 5) {
      const found = assign(layers, budget) as Assignment
      assert.ok(found.bits <= budget)
      const best = leastLoss(all, budget)
      assert.ok(found.loss >= best)
      // The step that did not fit any more: without it the relaxed problem has its solution.
      const below = curve.findLastIndex(({ bits }) => bits <= budget)
      const step = curve[below].loss - (curve[below + 1] ?? curve[below]).loss
      assert.ok(found.loss <= best + step, `${found.loss}, and the best is ${best}`)
      tried++
      if (found.loss === best) exact++
    }
  }
  assert.ok(exact / tried > 0.8, `${exact} of ${tried} are the best`)
})

test('the hull leaves out what is larger and loses more, and what lies above a line', () => {
  const choices = [
    { bits: 8, loss: 0 },
    { bits: 2, loss: 10 },
    { bits: 4, loss: 9 },
    { bits: 5, loss: 3 },
    { bits: 6, loss: 3 },
    { bits: 2, loss: 10 },
  ]
  // From (2, 10) to (5, 3) it falls by 7 in 3 bits; (4, 9) lies above. (6, 3) wins nothing over (5, 3).
  assert.deepEqual(lowerHull(choices), [1, 3, 0])
})
