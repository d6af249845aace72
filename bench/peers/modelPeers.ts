import type { DeviceName } from '../../src/devices/open.ts'
import type { Setting } from './worker.ts'

/** A library that whole models are measured beside. */
export type ModelPeerName = 'llama.cpp' | 'openvino' | 'wllama'

export interface ModelPeer {
  /** The folder, beside this file, whose manifest names what npm installs. */
  readonly folder: string
  /** What must lie there; the first is the library. Python's libraries are installed by their list there. */
  readonly packages: readonly [string, ...string[]]
  readonly python?: true
  /** What answers for it, beside this file. */
  readonly worker: string
  readonly device: DeviceName
  /** Where lowbit computes beside it. */
  readonly devices: readonly DeviceName[]
  /** At which it is fastest; where that is not said, it is looked for. */
  readonly fastest?: (threads: number) => { prefill: Setting; decode: Setting }
  /** Whether its memory, load and pauses are those of its worker. */
  readonly ownProcess: boolean
  /** What its tables are called in bench/results. */
  readonly results: string
}

export const modelPeers: Record<ModelPeerName, ModelPeer> = {
  'llama.cpp': {
    folder: '.',
    packages: ['node-llama-cpp', 'koffi'],
    worker: 'llama.ts',
    device: 'native',
    devices: ['native', 'wasm'],
    ownProcess: true,
    results: 'models',
  },
  openvino: {
    folder: 'openvino',
    packages: ['openvino-genai'],
    python: true,
    worker: 'python/openvino_model.py',
    device: 'native',
    devices: ['native'],
    // Its pipelines have no such setting.
    fastest: (threads) => {
      const setting = { threads, flashAttention: false }
      return { prefill: setting, decode: setting }
    },
    ownProcess: false,
    results: 'openvino',
  },
  wllama: {
    folder: 'web',
    packages: ['@wllama/wllama'],
    worker: 'web/wllama.ts',
    device: 'wasm',
    devices: ['wasm'],
    // To look for it would take longer than the rest: its defaults, and all threads.
    fastest: (threads) => {
      const setting = { threads, flashAttention: false }
      return { prefill: setting, decode: setting }
    },
    ownProcess: false,
    results: 'wllama',
  },
}
