/*
 * Which choice each layer takes, so that the sum of losses is least and that of bits within a budget: a
 * knapsack of one choice a layer.
 */

/** A way to quantize a layer: the bits that it then takes, and what is lost. */
export interface Choice {
  readonly bits: number
  readonly loss: number
}

/** The choice of each layer, by its number, and what all of them together take and lose. */
export interface Assignment {
  readonly chosen: readonly number[]
  readonly bits: number
  readonly loss: number
}

/** A layer takes a larger choice. */
interface Step {
  readonly layer: number
  readonly to: number
  /** What it wins for each bit. */
  readonly slope: number
}

/**
 * The choices on the lower convex hull of (bits, loss), by their numbers, from the smallest up: each wins less
 * for a bit than the one before. Of choices that are alike the first counts.
 */
export function lowerHull(choices: readonly Choice[]): number[] {
  const bySize = choices
    .map((_, i) => i)
    .sort((a, b) => choices[a].bits - choices[b].bits || choices[a].loss - choices[b].loss || a - b)
  const hull: number[] = []
  for (const i of bySize) {
    const last = hull.at(-1)
    if (last !== undefined && choices[i].loss >= choices[last].loss) continue
    while (
      hull.length > 1 &&
      slope(choices, hull[hull.length - 2], hull[hull.length - 1]) >= slope(choices, hull[hull.length - 1], i)
    )
      hull.pop()
    hull.push(i)
  }
  return hull
}

/**
 * Every assignment from the smallest choices to the least loss, one step at a time, those first that win the
 * most for a bit. Each of them is the best of all that take no more bits than it.
 */
export function assignmentCurve(layers: readonly (readonly Choice[])[]): Assignment[] {
  const { start, steps } = stepsOf(layers)
  const curve = [assignmentOf(layers, start)]
  const chosen = [...start]
  for (const { layer, to } of steps) {
    chosen[layer] = to
    curve.push(assignmentOf(layers, chosen))
  }
  return curve
}

/**
 * The assignment within a budget: steps by what they win for a bit, as far as they fit, then whatever single
 * change wins the most of what is left. It loses no more over the best than one step wins.
 * @returns null where the smallest choices do not fit
 */
export function assign(layers: readonly (readonly Choice[])[], budget: number): Assignment | null {
  const { start, steps } = stepsOf(layers)
  const chosen = [...start]
  let { bits } = assignmentOf(layers, start)
  if (bits > budget) return null
  const stopped = new Set<number>()
  for (const { layer, to } of steps) {
    const more = layers[layer][to].bits - layers[layer][chosen[layer]].bits
    if (bits + more > budget) stopped.add(layer)
    if (stopped.has(layer)) continue
    chosen[layer] = to
    bits += more
  }
  for (let change = bestChange(layers, chosen, budget - bits); change; ) {
    bits += layers[change.layer][change.to].bits - layers[change.layer][chosen[change.layer]].bits
    chosen[change.layer] = change.to
    change = bestChange(layers, chosen, budget - bits)
  }
  return assignmentOf(layers, chosen)
}

/** The change of one layer that wins the most and takes no more than `spare` bits; null where none wins. */
function bestChange(
  layers: readonly (readonly Choice[])[],
  chosen: readonly number[],
  spare: number,
): { layer: number; to: number } | null {
  let best: { layer: number; to: number; won: number } | null = null
  for (const [layer, choices] of layers.entries()) {
    const now = choices[chosen[layer]]
    for (const [to, { bits, loss }] of choices.entries()) {
      const won = now.loss - loss
      if (bits - now.bits <= spare && won > 0 && won > (best?.won ?? 0)) best = { layer, to, won }
    }
  }
  return best
}

function stepsOf(layers: readonly (readonly Choice[])[]): { start: number[]; steps: Step[] } {
  const hulls = layers.map(lowerHull)
  const steps = hulls.flatMap((hull, layer) =>
    hull.slice(1).map((to, i) => ({ layer, to, slope: -slope(layers[layer], hull[i], to) })),
  )
  // Within a layer slopes fall, so that its steps stay in their order.
  steps.sort((a, b) => b.slope - a.slope)
  return { start: hulls.map(([first]) => first), steps }
}

function slope(choices: readonly Choice[], from: number, to: number): number {
  return (choices[to].loss - choices[from].loss) / (choices[to].bits - choices[from].bits)
}

function assignmentOf(layers: readonly (readonly Choice[])[], chosen: readonly number[]): Assignment {
  const taken = chosen.map((choice, layer) => layers[layer][choice])
  const sum = (of: (choice: Choice) => number) => taken.reduce((total, choice) => total + of(choice), 0)
  return { chosen: [...chosen], bits: sum(({ bits }) => bits), loss: sum(({ loss }) => loss) }
}
