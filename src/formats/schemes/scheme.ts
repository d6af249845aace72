import type { DType, FloatDType } from '../../core/dtype.ts'
import type { QType } from '../../core/qtype.ts'
import type { Shape } from '../../core/shape.ts'
import type { Device } from '../../devices/device.ts'
import type { ComputeDType } from '../../qtensor/computeDtype.ts'
import type { CodesForm } from '../../qtensor/heldCodes.ts'
import type { WeightFacts } from '../../qtensor/parts.ts'
import type { QTensor } from '../../qtensor/qtensor.ts'
import type { Quantizer, ScaleOptions } from '../../qtensor/quantizer.ts'
import type { Tensor } from '../../tensor/tensor.ts'
import type { Container } from '../containers.ts'
import type { JsonObject } from '../json.ts'
import type { StoredDType, TensorFile, TensorInfo } from '../tensorFile.ts'

/*
 * A scheme is a way to store quantized weights in a container: which named tensors hold a layer's weight, and
 * what their bytes mean. Each is a file beside this one that exports a `Scheme`, entered in the table of
 * index.ts; nothing outside its file says its name. A scheme knows no model: it is asked for a layer by path
 * and shape.
 */

export interface Scheme {
  /** What users call it; what `inspect` prints. */
  readonly name: string
  /**
   * Files of a folder that hold its settings, where config.json does not under `quantization_config`; the
   * first that is there counts.
   */
  readonly settingsFiles?: readonly string[]
  /** Fields of config.json that hold its settings, where there is no `quantization_config`. */
  readonly settingsKeys?: readonly string[]
  /**
   * How the layers of a checkpoint are read, or null where another scheme, or none, wrote it.
   * @param config the settings: `quantization_config`, or without one what the first of `settingsFiles`
   * holds; null if there are none
   * @param own whether they are of one of `settingsFiles`, or were handed over for this scheme
   * @throws FormatError if the settings are those of this scheme, and not sound
   */
  detect(
    config: JsonObject | null,
    file: TensorFile,
    own: boolean,
  ): Promise<QuantizedFile | null> | QuantizedFile | null
  /**
   * What floats beside its weights become when a model is loaded, unless another is asked for; default: as
   * saved.
   */
  readonly floatDtype?: FloatDType
  /** The name of a tensor that this scheme alone would have written; undefined if there is none. */
  trace?(file: TensorFile): string | undefined
  /** How models are written; absent where lowbit only reads the scheme. */
  readonly writer?: SchemeWriter
}

/** A checkpoint that a scheme knows how to read. */
export interface QuantizedFile {
  /** The layers that the settings name: the model must have them. Absent where the tensors alone tell. */
  readonly paths?: readonly string[]
  /** Dtypes of stored tensors that the scheme reads as they are, for messages. */
  readonly dtypes?: readonly StoredDType[]
  /** What of the settings lowbit does otherwise than the library, or not, a sentence each. */
  readonly warnings?: readonly string[]
  /** Whether a tensor is one that the scheme writes, and lowbit does without. */
  isUnused?(name: string): boolean
  /**
   * How the layer at `path` is quantized; null where it is not.
   * @param shape of its weight with outputs first: [out, in], or a convolution's [out, in/groups, …]
   * @param typeName the class of the float layer: `Linear`
   * @throws FormatError if the settings say that it is, and the file holds its weight otherwise
   */
  layer(path: string, shape: Shape, typeName: string): QuantizedLayer | null
}

/** How one layer is stored. */
export interface QuantizedLayer {
  /** Null where the weight is a float. */
  readonly weight: QuantizedWeight | null
  /** What activations are quantized to; null where they stay float. */
  readonly activations: QType | null
  /** Whether outputs are quantized, where activations are; default true. */
  readonly outputQuantized?: boolean
  /**
   * How the library computes the layer's products, where it rounds floats anew in every pass; null: as the
   * call says.
   */
  readonly computeDtype?: ComputeDType | null
  /** The magnitude from which values of inputs are outliers, where `computeDtype` is `int8Outliers`. */
  readonly outlierThreshold?: number
}

/** A quantized weight in a file. */
export interface QuantizedWeight {
  readonly facts: WeightFacts
  /** The dtype of the floats that it stands for, as `read` will give it. */
  readonly dtype: FloatDType
  /** What `inspect` prints: `qint4, groups of 32`. */
  readonly kind: string
  /** The tensors that hold it: those that a file has to have. */
  readonly parts: readonly Part[]
  /**
   * Makes the weight of its parts, all of which are in the file as `parts` says, with codes as the reader
   * gives them.
   */
  read(parts: PartReader): Promise<QTensor>
}

/** A tensor that a scheme calls for. */
export interface Part {
  /** Below the layer's path: `weight._scale`. */
  readonly name: string
  /** Any one of these. */
  readonly dtypes: readonly StoredDType[]
  readonly shape: Shape
}

/** Brings the parts of one weight onto a device. What it gives is disposed after the weight was made. */
export interface PartReader {
  readonly device: Device
  info(part: string): TensorInfo
  /**
   * The values; the bytes [byteLength] uint8 where lowbit has none of the kind. Floats are finite.
   * @param as the dtype that bytes are of, where the file says uint8
   */
  tensor(part: string, as?: DType): Promise<Tensor>
  /** How the weight is to hold codes, where the scheme can give them so; else in tiles. */
  readonly form: CodesForm
  /**
   * The values of a part that holds nothing but codes; null where the form is `none`. What else the weight is
   * must not depend on them.
   * @param options.mayBeNaN whether float codes stay that are no numbers, for `verify` to tell; default: no
   */
  codes(part: string, options?: { mayBeNaN?: boolean }): Promise<Tensor | null>
  /** The bytes of rows `start` to `end` (exclusive) of the first dimension, uint8. */
  rows(part: string, start: number, end: number): Promise<Tensor>
  /** On the host: a view, not to be written into. */
  bytes(part: string): Promise<Uint8Array>
  /** The error for a part that does not hold what it must: `X.weight must …`. */
  error(part: string, problem: string, byteOffset?: number): Error
}

/** How a scheme writes models. */
export interface SchemeWriter {
  /** What its parts stand in; default: a folder of safetensors. */
  readonly container?: Container
  /** The types of weights that it holds. */
  readonly types: readonly QType[]
  /** The classes of layers whose weights its library has quantized; default: `Linear` alone. */
  readonly layers?: readonly string[]
  /** The classes of layers of which its readers take codes, lowbit's among them; default: all. */
  readonly reads?: readonly string[]
  /** The types of activations, with scales of their own, that it holds; default: none. */
  readonly activations?: readonly QType[]
  /** What `convert` takes as a target, by name: what weights become there that cannot go over as they are. */
  readonly targets: Readonly<Record<string, Target>>
  /** What scaled codes are divided by in the weights that it holds; default: they are not. */
  readonly divisor?: number
  /**
   * Why the codes and scales of a weight cannot be written as they are, the end of a sentence: `it has groups
   * of 48, and AWQ takes multiples of 32`; null where they can. Codes that are moved by a constant, and zero
   * points with them, stand for the same numbers.
   */
  refuses(weight: WeightKind): string | null
  /**
   * The same of a weight that is not refused, where only its values tell, such as scales that are float32
   * where the format has float16; default: all fit. Values are looked at on the device.
   */
  fits?(weight: QTensor): Promise<string | null>
  /**
   * Whether its readers round what the codes of a weight of halves stand for as that weight does: one that
   * was float16 is not where they multiply in float32. Default: they do.
   */
  roundsAlike?(weight: WeightKind): boolean
  /**
   * Whether its readers learn that the layer's inputs are rounded anew in every pass, as `computeDtype` says.
   * Default: of none.
   */
  computes?(layer: LayerToWrite): boolean
  /** The tensors of one layer, whose weight is not refused, besides its bias and other floats. */
  parts(layer: LayerToWrite): readonly PartToWrite[]
  /**
   * Whether readers expect the codes of a weight that several layers share with each of them; else they are
   * written once.
   */
  repeats(layer: LayerToWrite): boolean
  /**
   * What says how the layers, by path, are quantized.
   * @param floats the layers that could be, and are not
   */
  settings(layers: ReadonlyMap<string, LayerToWrite>, floats: readonly FloatLayer[]): SchemeSettings
  /** What is lost, or what other readers cannot load: a sentence each. */
  limits(layers: ReadonlyMap<string, LayerToWrite>): readonly string[]
}

/** How weights are quantized for a target: the options of `quantize` of the same names. */
export interface Target extends ScaleOptions {
  readonly weights: QType
  /** A name of the table `quantizers`, or a quantizer; default: that of the type. */
  readonly algorithm?: string | Quantizer
  /** Columns that share a scale; null: the row. Default: as `quantize` chooses. */
  readonly groupSize?: number | null
  /** How products are computed. */
  readonly computeDtype?: ComputeDType
  /**
   * Whether codes that the scheme can hold are what the target's name says, and stay: those of `bnb-nf4` are
   * nf4. Default: all.
   */
  holds?(weight: WeightKind): boolean
  /**
   * What of the above differs for one layer; or the end of a sentence that says why it stays float: `its 172
   * columns are no whole blocks of 32`.
   */
  layer?(place: LayerPlace): Partial<Target> | string
}

/** Where a layer stands whose weight is to be quantized. */
export interface LayerPlace {
  /** Of its tensors, in the container: `blk.3.attn_v`. */
  readonly name: string
  /** Of its weight, outputs first. */
  readonly shape: Shape
  /** The number of the decoder layer that it is in; null: in none. */
  readonly layer: number | null
  /** How many there are. */
  readonly layers: number
  /** Whether the model's head has its weight, too. */
  readonly isHead: boolean
}

/** A quantized layer that is to be written. */
export interface LayerToWrite {
  readonly path: string
  /** Its class: `QLinear`. */
  readonly typeName: string
  /** What the weight is, or will be; null where it is a float. */
  readonly weight: WeightKind | null
  /** What the weight is quantized to when it is frozen; null where it stays float. */
  readonly weights: QType | null
  readonly activations: QType | null
  readonly outputQuantized: boolean
  /** What its products were set to be computed in; null where they were not. */
  readonly computeDtype: ComputeDType | null
  readonly outlierThreshold: number
  /** The dtype of its floats. */
  readonly dtype: FloatDType
}

/** A layer that stays float, though there is a twin of its class. */
export interface FloatLayer {
  readonly path: string
  /** Its class: `Linear`. */
  readonly typeName: string
}

/** What of a quantized weight decides which tensors hold it; `weightKind` tells it of one that is there. */
export interface WeightKind extends WeightFacts {
  /** The dtype of the float weight. */
  readonly dtype: FloatDType
  /** Whether its columns are stored in another order. */
  readonly reordered: boolean
  /** The dtype of its scales; null where they are quantized once more. */
  readonly scaleDtype: DType | null
  /** What scaled codes are divided by; null where they are not. */
  readonly divisor: number | null
  /** The zero point that all its blocks have; null where they differ, or there are none. */
  readonly zeroPoint: number | null
  /** Of scales quantized once more: how many share one, and what was taken away from each. */
  readonly nested: {
    readonly blockSize: number
    readonly offset: number
    /** The dtype of their codes, and whether one value for all of them divides. */
    readonly codes: DType
    readonly divides: boolean
    /** Whether codes stand for the values of a codebook. */
    readonly codebook: boolean
    /** The dtype of the values that they share. */
    readonly values: DType
  } | null
}

/** One tensor of a quantized layer in a file. */
export interface PartToWrite {
  /** Below the layer's path. */
  readonly name: string
  readonly dtype: StoredDType
  readonly shape: Shape
  /** What of the layer it is made of: what is tied is written once. Activation scales belong to the layer. */
  readonly of: 'weight' | 'layer'
  /**
   * Makes it of the frozen weight and the activations' scales; its bytes, uint8, where lowbit has no values
   * of the dtype.
   */
  make(values: LayerValues): Tensor
}

export interface LayerValues {
  readonly device: Device
  readonly weight: QTensor | null
  /** Scales of activations, [] float32; null where they were never calibrated. */
  readonly inputScale: Tensor | null
  readonly outputScale: Tensor | null
}

/** Where a scheme's settings go. */
export interface SchemeSettings {
  /** Texts of files of their own, by name. */
  readonly files?: ReadonlyMap<string, string>
  /** What config.json holds under `quantization_config`. */
  readonly quantizationConfig?: Readonly<Record<string, unknown>>
  /** Texts that stand beside the tensors in their files (`__metadata__`), by name. */
  readonly texts?: Readonly<Record<string, string>>
  /** Other fields of config.json, by name. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** What config.json holds of settings, by field. */
export function configFields({ quantizationConfig, config }: SchemeSettings): Record<string, unknown> {
  return { ...config, ...(quantizationConfig && { quantization_config: quantizationConfig }) }
}
