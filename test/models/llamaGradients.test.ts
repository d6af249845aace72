import assert from 'node:assert/strict'
import { Random } from '../../src/core/random.ts'
import { epsilon, normals } from '../../src/kernels/inputs.ts'
import { loadCausalLM } from '../../src/models/load.ts'
import { crossEntropyLoss } from '../../src/nn/losses.ts'
import { backward } from '../../src/tensor/backward.ts'
import { Tensor } from '../../src/tensor/tensor.ts'
import { testOnDevices } from '../tensor/devices.ts'
import { forward64, readPlain } from './float64Llama.ts'
import { inputs, pythonFolder } from './golden.ts'

/** One of each kind: what is shared by queries and keys, gated, normalized, looked up. */
const paths = ['q_proj', 'k_proj', 'v_proj', 'o_proj']
  .map((name) => `model.layers.1.self_attn.${name}.weight`)
  .concat(
    ...['gate_proj', 'up_proj', 'down_proj'].map((name) => `model.layers.3.mlp.${name}.weight`),
    'model.layers.0.input_layernorm.weight',
    'model.embed_tokens.weight',
  )

testOnDevices(
  'gradients of Llama along random directions: central differences of the float64 model',
  async (device) => {
    const model = await loadCausalLM(pythonFolder('float'), { device, dtype: 'float32' })
    const ids = inputs.prompt_ids.slice(0, 9)
    const parameters = paths.map((path) => model.getParameter(path))
    for (const parameter of parameters) if (parameter instanceof Tensor) parameter.requiresGrad = true
    const loss = backward(() => {
      const logits = model.forward(ids.slice(0, -1))
      return crossEntropyLoss(logits.view([ids.length - 1, logits.size(-1)]), ids.slice(1))
    })
    loss.dispose()
    const plain = await readPlain(pythonFolder('float'))
    const lossOf = () => {
      const logits = forward64(plain, ids.slice(0, -1))
      const each = logits.map(
        (row, t) => Math.log(row.reduce((sum, one) => sum + Math.exp(one), 0)) - row[ids[t + 1]],
      )
      return each.reduce((sum, one) => sum + one, 0) / each.length
    }
    for (const [k, path] of paths.entries()) {
      const parameter = parameters[k]
      assert.ok(parameter instanceof Tensor && parameter.grad, path)
      const gradient = await parameter.grad.toNumbers()
      const length = Math.hypot(...gradient)
      // Half along the gradient, so that the derivative is not small, half at random.
      const noise = normals(new Random(k), gradient.length, 1 / Math.sqrt(gradient.length))
      const direction = Float64Array.from(gradient, (value, i) => value / length + noise[i])
      const weight = Float64Array.from(plain.weights.get(path) ?? [])
      // The embedding is the head, too.
      const set = (values: Float64Array) => {
        plain.weights.set(path, values)
        if (path === 'model.embed_tokens.weight') plain.weights.set('lm_head.weight', values)
      }
      const moved = (step: number) => {
        set(weight.map((value, i) => value + step * direction[i]))
        return lossOf()
      }
      const expected = (moved(1e-5) - moved(-1e-5)) / 2e-5
      set(weight)
      const actual = direction.reduce((sum, value, i) => sum + value * gradient[i], 0)
      // Five layers of some ten operations each way, a few ε each, of gradients that direction multiplies;
      // and the differences' own error.
      const bound = 400 * epsilon * length * Math.hypot(...direction) + 1e-8
      assert.ok(
        Math.abs(actual - expected) <= bound,
        `${path}: ${actual}; expected ${expected}, give or take ${bound}`,
      )
      // The bound tells the gradient from one that is a thousandth off.
      assert.ok(
        bound < 1e-3 * Math.abs(expected),
        `${path}: the bound ${bound} must be small beside ${expected}`,
      )
    }
    model.dispose()
  },
)
