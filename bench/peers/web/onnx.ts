/* ONNX files as far as one operator needs them. Source: onnx.proto of the ONNX project. */

/** A field of a protocol buffer: its number, and a whole number, a text, bytes or a message. */
type Field = readonly [number, number | string | Uint8Array | readonly Field[]]

function varint(value: number): number[] {
  const bytes: number[] = []
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128)
  return [...bytes, value]
}

function encoded(fields: readonly Field[]): Uint8Array {
  return Buffer.concat(
    fields.map(([number, value]) => {
      if (typeof value === 'number') return Buffer.from([...varint(number * 8), ...varint(value)])
      const bytes =
        typeof value === 'string' ? Buffer.from(value) : value instanceof Uint8Array ? value : encoded(value)
      return Buffer.concat([Buffer.from([...varint(number * 8 + 2), ...varint(bytes.length)]), bytes])
    }),
  )
}

const [float, uint8, integerAttribute] = [1, 2, 2]

const tensor = (name: string, type: number, dims: readonly number[], data: Uint8Array): Field => [
  5,
  [...dims.map((size): Field => [1, size]), [2, type], [8, name], [9, data]],
]
const value = (field: number, name: string, dims: readonly number[]): Field => [
  field,
  [
    [1, name],
    [
      2,
      [
        [
          1,
          [
            [1, float],
            [2, dims.map((size): Field => [1, [[1, size]]])],
          ],
        ],
      ],
    ],
  ],
]

/**
 * A file with so many products of 4 bits one behind the other, x0 [1, n] to x`count` [1, n], all with the
 * same square weight: `MatMulNBits` with a float32 scale for each group, at accuracy level 4, int8
 * activations.
 */
export function productsOf4Bits(n: number, group: number, count: number, seed = 1): Uint8Array {
  let state = seed
  const codes = Uint8Array.from({ length: (n * n) / 2 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 24
  })
  // Results are as large as inputs.
  const scales = new Float32Array((n * n) / group).fill(1 / (4.6 * Math.sqrt(n)))
  const attributes = { K: n, N: n, bits: 4, block_size: group, accuracy_level: 4 }
  const node = (i: number): Field => [
    1,
    [
      ...[`x${i}`, 'codes', 'scales'].map((name): Field => [1, name]),
      ...([
        [2, `x${i + 1}`],
        [4, 'MatMulNBits'],
        [7, 'com.microsoft'],
      ] as Field[]),
      ...Object.entries(attributes).map(
        ([name, of]): Field => [
          5,
          [
            [1, name],
            [3, of],
            [20, integerAttribute],
          ],
        ],
      ),
    ],
  ]
  const graph: Field[] = [
    ...Array.from({ length: count }, (_, i) => node(i)),
    [2, 'products'],
    tensor('codes', uint8, [n, n / group, group / 2], codes),
    tensor('scales', float, [(n * n) / group], new Uint8Array(scales.buffer)),
    value(11, 'x0', [1, n]),
    value(12, `x${count}`, [1, n]),
  ]
  const opset = (domain: string, version: number): Field => [
    8,
    [
      [1, domain],
      [2, version],
    ],
  ]
  return encoded([[1, 10], [7, graph], opset('', 21), opset('com.microsoft', 1)])
}
