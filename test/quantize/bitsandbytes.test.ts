import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkBitsAndBytes } from '../../src/quantize/bitsandbytes.ts'

test("options by either spelling; what every object has is no option, and no option's other name", () => {
  const check = (options: object) => checkBitsAndBytes('bitsandbytes', options)
  assert.deepEqual(check({ load_in_4bit: true, bnb_4bit_quant_type: 'nf4' }), {
    loadIn4bit: true,
    bnb4bitQuantType: 'nf4',
  })
  assert.throws(() => check({ loadIn4bit: true, load_in_4bit: true }), {
    message: 'bitsandbytes: loadIn4bit must be given once; received load_in_4bit, too',
  })
  for (const name of ['toString', 'constructor'])
    assert.throws(() => check({ loadIn4bit: true, [name]: 1 }), {
      message: new RegExp(`^bitsandbytes: unknown option "?${name}"?;`),
    })
})
