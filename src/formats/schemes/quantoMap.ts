import {
  type QType,
  qfloat8,
  qfloat8_e4m3fn,
  qfloat8_e4m3fnuz,
  qfloat8_e5m2,
  qint2,
  qint4,
  qint8,
} from '../../core/qtype.ts'
import { JsonObject, parseJson, pythonJson } from '../json.ts'
import type { LayerToWrite } from './scheme.ts'

/** The quantized types that quanto has, and that its files may name. */
export const quantoTypes: readonly QType[] = [
  ...[qint2, qint4, qint8],
  ...[qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz],
]

/** A map names modules by the thousand, not by the million. */
export const maxQuantoMapBytes = 10_000_000

/** What a module's weights and activations are quantized to; undefined where they stay float. */
export interface QuantoModule {
  readonly weights?: QType
  readonly activations?: QType
  /**
   * Whether outputs are quantized; absent means they are. quanto neither writes nor minds it: its own
   * streamlining is lost in a file.
   */
  readonly outputQuantized?: boolean
}

/** Quantized modules by name, such as `model.layers.0.mlp.up_proj`. */
export type QuantoMap = ReadonlyMap<string, QuantoModule>

/**
 * `{"lm_head": {"weights": "qint4", "activations": "none"}, …}`
 * @throws FormatError naming the module and what its entry says.
 */
export function parseQuantoMap(bytes: Uint8Array, name: string): QuantoMap {
  const options = { uniqueKeys: true, maxBytes: maxQuantoMapBytes }
  return readQuantoMap(new JsonObject(parseJson(bytes, name, options), name))
}

/** @throws FormatError as `parseQuantoMap` */
export function readQuantoMap(modules: JsonObject): QuantoMap {
  return new Map(
    modules.keys().map((module) => {
      const entry = modules.object(module)
      const types = { weights: readQType(entry, 'weights'), activations: readQType(entry, 'activations') }
      return [module, { ...types, outputQuantized: entry.boolean('output_quantized', true) }]
    }),
  )
}

function readQType(entry: JsonObject, key: string): QType | undefined {
  const name = entry.string(key)
  if (name === 'none') return undefined
  const found = name === 'qfloat8' ? qfloat8 : quantoTypes.find((qtype) => qtype.name === name)
  if (found) return found
  throw entry.error(
    key,
    `must be none, qfloat8 or one of ${quantoTypes.map((qtype) => qtype.name).join(', ')}`,
  )
}

/** The text of `quanto_qmap.json`, as quanto writes it. */
export function formatQuantoMap(map: QuantoMap): string {
  const entries = [...map].map(([module, { weights, activations, outputQuantized }]) => {
    const types = { weights: weights?.name ?? 'none', activations: activations?.name ?? 'none' }
    return [module, outputQuantized === false ? { ...types, output_quantized: false } : types] as const
  })
  return pythonJson(Object.fromEntries(entries), 4)
}

/** The map of layers that are written. */
export function quantoMapOf(layers: ReadonlyMap<string, LayerToWrite>): QuantoMap {
  return new Map(
    [...layers].map(([path, { weights, activations, outputQuantized }]) => [
      path,
      {
        weights: weights ?? undefined,
        activations: activations ?? undefined,
        outputQuantized: !activations || outputQuantized,
      },
    ]),
  )
}
