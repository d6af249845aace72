// What the README says of each format, and which tests are its own: for each part of scripts/formats.mjs the files,
// and which of their tests count.

const goldenTitle = /Python's folder computes what Python computed|: weights and logits are Python's/
const models = (file) => `test/models/${file}.test.ts`

/** Tests of golden checkpoints, in a file of one format or with these names. */
const run = (file, names = /./) => ({
  files: [models(file)],
  takes: (name) => goldenTitle.test(name) && names.test(name),
})

/** Conversions to targets of a name. */
const write = (targets) => ({
  files: [models('conversionMatrix')],
  takes: (name) => name.startsWith('→ ') && targets.test(name.slice(2)),
})

const interop = (name, file, titles = /./) => ({
  name,
  files: [file].flat().map((one) => `test/interop/${one}.test.ts`),
  takes: (title) => titles.test(title),
})

/** The formats in the order of the tables. */
export const formats = [
  {
    format: 'optimum-quanto',
    reads: 'int2, int4, int8, float8; activations',
    writes: '`quanto`, `quanto-int4`',
    run: run('golden', /^quanto/),
    write: write(/^quanto/),
    library: interop('optimum-quanto', ['quanto', 'activations', 'modules'], /^(?!.*what Python saves)/),
  },
  {
    format: 'GPTQ',
    reads: '2, 3, 4, 8 bits, act-order, settings of single layers',
    writes: '`gptq`, `gptq_v2`',
    run: run('gptq'),
    write: write(/^gptq/),
    library: interop('GPTQModel, transformers', 'gptq/gptq', /: gptq makes|^symmetric rows: transformers/),
  },
  {
    format: 'AWQ',
    reads: '4 bits: gemm, gemv, gemv_fast, llm-awq',
    writes: '`awq`, `awq_gemv`',
    run: run('awq'),
    write: write(/^awq/),
    library: interop('AutoAWQ, transformers', 'gptq/gptq', /: (awq|gemv) makes|^AWQ.*: transformers/),
  },
  {
    format: 'bitsandbytes',
    reads: 'NF4, FP4, double quantization, LLM.int8',
    writes: '`bnb-nf4`, `bnb-nf4-double`, `bnb-fp4`, `bnb-int8`',
    run: run('bitsandbytes'),
    write: write(/^bnb-/),
    library: interop('bitsandbytes', 'bitsandbytes', /^(?!.*what Python saves)/),
  },
  {
    format: 'compressed-tensors',
    reads: 'packed integers, int8, float8, NVFP4, MXFP4, MXFP8',
    writes: '`compressed-tensors`, `compressed-tensors:w8a8`, `:fp8`, `:fp8-block`, `:mxfp4`, `:nvfp4`',
    run: run('compressedTensors', /^(?!.*fp8-finegrained)/),
    write: write(/^compressed-tensors/),
    library: interop('compressed-tensors', 'compressed/compressed', /^(?!fp8-fine)/),
  },
  {
    format: 'float8 of transformers',
    reads: "fine-grained (tiles), one scale, FBGEMM's rows",
    writes: '`fp8`: tiles',
    run: run('compressedTensors', /fp8-finegrained/),
    write: write(/^fp8$/),
    library: interop('transformers', 'compressed/compressed', /^fp8-fine/),
  },
  {
    format: 'torchao',
    reads: 'Int8, Intx, Int4, Float8, MX, NVFP4; inputs rounded for each token',
    writes: '`torchao-int8`, `torchao-float8`, `torchao-int4`',
    run: run('torchao'),
    write: write(/^torchao/),
    library: interop('torchao', 'torchao/written', /^torchao/),
  },
  {
    format: 'HQQ',
    reads: '1 to 6 and 8 bits',
    writes: '`hqq`, `hqq:2bit`, `:3bit`, `:8bit`',
    run: run('hqq'),
    write: write(/^hqq/),
    library: interop('hqq', 'torchao/written', /^hqq/),
  },
  {
    format: 'MLX',
    reads: 'affine of 1 to 6 and 8 bits, mxfp4, mxfp8, nvfp4',
    writes: '`mlx`, `mlx:2bit`, `:3bit`, `:5bit`, `:6bit`, `:8bit`',
    run: run('mlx'),
    write: write(/^mlx/),
    library: interop('mlx-lm', 'torchao/written', /^mlx/),
  },
  {
    format: 'BitNet',
    reads: 'packed and online',
    writes: '`bitnet`',
    run: run('bitnet'),
    write: write(/^bitnet/),
    library: interop('transformers', 'torchao/written', /^bitnet/),
  },
  {
    format: 'GGUF',
    reads: 'Q4_0 to Q8_0, K-quants, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0, MXFP4, NVFP4',
    writes: '`gguf:q4_0` … `gguf:q8_0`, `gguf:q4_k_m` …, `gguf` for floats',
    run: run('ggufTypes'),
    write: write(/^gguf/),
    library: interop('llama.cpp, gguf', ['gguf/gguf', 'gguf/llama']),
  },
  {
    format: 'safetensors',
    reads: 'floats',
    writes: '`safetensors`',
    run: run('golden', /^float/),
    write: write(/^safetensors$/),
  },
  {
    format: "PyTorch's `.bin`, `.pt`, `.pth`",
    reads: 'any of the above that is stored so',
    writes: '',
    run: {
      files: [models('pytorchFiles')],
      takes: (name) => name.includes('computes as from safetensors'),
    },
  },
]
