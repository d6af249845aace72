/** A dot, in pixels of the picture, and what is written beside it. */
export interface LabelledDot {
  x: number
  y: number
  label: string
}

/** A rectangle that holds what is drawn. */
export interface Frame {
  left: number
  right: number
  top: number
  bottom: number
}

/** About that of most letters, and of a line of them, at 12 pixels. */
const [letterWidth, lineHeight] = [6.6, 14]
const radius = 5

/**
 * The middle of each label: above its dot, else below, else at its right or left, else a line farther above or
 * below, wherever it first covers no dot and no label before it; null where none of these is free.
 */
export function placeLabels(dots: readonly LabelledDot[], frame: Frame): ({ x: number; y: number } | null)[] {
  const taken: Frame[] = dots.map(({ x, y }) => box(x, y, 2 * radius, 2 * radius))
  return dots.map((dot) => {
    const width = dot.label.length * letterWidth
    const places = placesAround(dot, width, frame)
    const free = ({ x, y }: { x: number; y: number }) => {
      const label = box(x, y, width, lineHeight)
      return inside(label, frame) && !taken.some((other) => overlap(label, other))
    }
    const place = places.find(free)
    if (place) taken.push(box(place.x, place.y, width, lineHeight))
    return place ?? null
  })
}

function placesAround({ x, y }: LabelledDot, width: number, { left, right }: Frame) {
  const beside = radius + 3 + width / 2
  // Near an edge the label moves inwards.
  const middle = Math.min(Math.max(x, left + width / 2), right - width / 2)
  const away = (lines: number) => radius + lineHeight / 2 + 2 + lines * lineHeight
  const stacked = (lines: number) => [
    { x: middle, y: y - away(lines) },
    { x: middle, y: y + away(lines) },
  ]
  return [...stacked(0), { x: x + beside, y }, { x: x - beside, y }, ...stacked(1)]
}

function box(x: number, y: number, width: number, height: number): Frame {
  return { left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 }
}

function inside(inner: Frame, outer: Frame): boolean {
  return (
    inner.left >= outer.left &&
    inner.right <= outer.right &&
    inner.top >= outer.top &&
    inner.bottom <= outer.bottom
  )
}

function overlap(a: Frame, b: Frame): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
}
