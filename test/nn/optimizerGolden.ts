type Settings = Record<string, number | boolean | number[] | string>

/**
 * test/golden/optimizers.json: parameters after each step, rates after each epoch, as
 * scripts/make-optimizer-golden.py computes them.
 */
export interface OptimizerGolden {
  start: number[][]
  gradients: number[][][]
  steps: {
    optimizer: 'SGD' | 'Adam' | 'AdamW' | 'Adadelta'
    settings: Settings
    groups: Settings[] | null
    after: number[][][]
  }[]
  schedules: {
    schedule: string
    options: Settings
    optimizer: 'SGD' | 'Adam'
    settings: Settings
    rates: number[][]
    momenta: number[]
  }[]
  clipped: { maxNorm: number; normType: string; norm: number; after: number[][] }[]
  resized: { shape: number[]; size: [number, number]; x: number[]; y: number[] }[]
}

/** Python's names as ours: `weight_decay` is `weightDecay`, `T_max` is `tMax`. */
export function camelCased(settings: Settings): Record<string, never> {
  const entries = Object.entries(settings).map(([name, value]) => [
    name.replace(/^T_/, 't_').replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    value,
  ])
  return Object.fromEntries(entries)
}
