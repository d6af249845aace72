// Drawn images in CIFAR-10's layout, for those who have not got CIFAR-10: ten bright shapes on dark ground,
// in noise.

/** Whether a shape covers a point: the unit circle holds all of it. */
type Shape = (u: number, v: number) => boolean

const radius = Math.hypot
const farther = (u: number, v: number) => Math.max(Math.abs(u), Math.abs(v))
const nearer = (u: number, v: number) => Math.min(Math.abs(u), Math.abs(v))

/** The shape of each class. */
const shapes: Shape[] = [
  /* disc */ (u, v) => radius(u, v) < 0.8,
  /* ring */ (u, v) => radius(u, v) < 0.95 && radius(u, v) > 0.55,
  /* half a disc */ (u, v) => radius(u, v) < 1 && v > -0.1,
  /* ellipse */ (u, v) => radius(2.4 * u, v) < 1,
  /* square */ (u, v) => farther(u, v) < 0.7,
  /* frame */ (u, v) => farther(u, v) < 0.75 && farther(u, v) > 0.4,
  /* triangle */ (u, v) => v > -0.6 && v < 0.95 - 1.7 * Math.abs(u),
  /* cross */ (u, v) => nearer(u, v) < 0.25 && farther(u, v) < 0.95,
  /* two bars */ (u, v) => Math.abs(v) < 0.8 && Math.abs(u) > 0.2 && Math.abs(u) < 0.6,
  /* two squares that touch */ (u, v) => farther(u, v) < 0.75 && u * v > 0,
]

const side = 32

/**
 * `count` images, each a byte for its class and 3 · 32 · 32 bytes of pixels, channel by channel; the same
 * seed draws the same.
 */
export function drawImages(count: number, seed: number): Uint8Array<ArrayBuffer> {
  const next = random(seed)
  const between = (least: number, most: number) => least + (most - least) * next()
  const pixels = side * side
  const bytes = new Uint8Array(count * (1 + 3 * pixels))
  for (let image = 0; image < count; image++) {
    const label = Math.floor(10 * next())
    const start = image * (1 + 3 * pixels)
    bytes[start] = label
    const [x0, y0, size, turn] = [between(13, 19), between(13, 19), between(8, 12), between(-0.4, 0.4)]
    const [cos, sin] = [Math.cos(turn) / size, Math.sin(turn) / size]
    const ground = [between(0, 0.4), between(0, 0.4), between(0, 0.4)]
    const color = [between(0.6, 1), between(0.6, 1), between(0.6, 1)]
    for (let i = 0; i < pixels; i++) {
      const [x, y] = [(i % side) - x0, Math.floor(i / side) - y0]
      const inside = shapes[label](cos * x + sin * y, cos * y - sin * x)
      for (let channel = 0; channel < 3; channel++) {
        // A clamped sum of three: nearly normal.
        const noise = 0.2 * (next() + next() + next() - 1.5)
        const value = (inside ? color : ground)[channel] + noise
        bytes[start + 1 + channel * pixels + i] = 255 * Math.min(Math.max(value, 0), 1)
      }
    }
  }
  return bytes
}

/** Numbers from 0 to 1, 1 excluded. Source: mulberry32 by Tommy Ettinger, public domain. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
