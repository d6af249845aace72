import { normalCdf, normalDensity, tanhGeluSlope } from '../../src/kernels/elementwise/unary/normal.ts'
import { epsilon } from '../../src/kernels/inputs.ts'
import { gelu, relu, sigmoid, silu, tanh } from '../../src/tensor/ops/index.ts'
import { testOnDevices } from './devices.ts'
import { compareWithGolden, goldenOp, goldenValues } from './goldenGradients.ts'

/*
 * PyTorch's gradients of what is computed value by value. Each bound is a few ulp of the terms that are
 * added; where PyTorch takes 1 + erf or 1 + tanh, its own terms are 1 and |x|, and so are the bound's.
 */

const s = (x: number) => 1 / (1 + Math.exp(-x))
const operations = {
  relu: { run: relu, out: (x: number) => Math.abs(x), slope: () => 1 },
  sigmoid: { run: sigmoid, out: s, slope: (x: number) => s(x) },
  tanh: { run: tanh, out: (x: number) => Math.abs(Math.tanh(x)), slope: () => 1 },
  silu: { run: silu, out: (x: number) => Math.abs(x) * s(x), slope: (x: number) => s(x) * (1 + Math.abs(x)) },
  gelu_erf: {
    run: gelu,
    out: (x: number) => Math.abs(x),
    slope: (x: number) => normalCdf(x) + Math.abs(x) * normalDensity(x) + 0.5,
  },
  gelu_tanh: {
    run: (x: Parameters<typeof gelu>[0]) => gelu(x, 'tanh'),
    out: (x: number) => Math.abs(x) * (1 + Math.abs(tanhGeluSlope(x))),
    slope: (x: number) => (1 + Math.abs(x)) * (1 + Math.abs(tanhGeluSlope(x))),
  },
}

for (const [name, { run, out, slope }] of Object.entries(operations)) {
  testOnDevices(`${name}: output and gradient are PyTorch's`, async (device) => {
    const op = await goldenOp(name)
    const [x, dy] = [goldenValues(op, 'in.x'), goldenValues(op, 'grad_out')]
    await compareWithGolden(
      device,
      op,
      (inputs) => run(inputs.x),
      (key) =>
        Float64Array.from(
          x,
          (value, i) => 4 * epsilon * (key === 'out' ? out(value) : Math.abs(dy[i]) * slope(value)),
        ),
    )
  })
}
