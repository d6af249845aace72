import { type Command, Option } from 'commander'
import {
  actOrder,
  algorithmNames,
  byteSize,
  number,
  quantizedType,
  repeated,
  weightsType,
  wholeNumber,
  wholeNumbers,
} from './arguments.ts'

/** Adds `lowbit quantize` with its options; its code is loaded when it runs. */
export function addQuantize(program: Command, modelHelp: string) {
  return program
    .command('quantize')
    .description('quantize the weights of a model, and its activations, and save it')
    .argument('<model>', modelHelp)
    .option(
      '--weights <type>',
      'one type for all layers: int8, int4, int3, int2, float8 (= float8_e4m3fn), float8_e5m2, float8_e4m3fnuz, nf4 or fp4; of a GGUF file q4_k, q8_0 and its other types',
      weightsType,
    )
    .option(
      '--target-bits <bits>',
      'choose the bits of each layer, so that a weight has so many on average, scales counted, and the least is lost; with --calibration and --algorithm',
      number(0),
    )
    .option('--target-size <size>', 'the same, for a model of such a size: 80MB, 1.5GB or bytes', byteSize)
    .option(
      '--max-kl <nats>',
      'the same: the smallest model whose guesses are no farther from the float one, as mean KL divergence',
      number(0),
    )
    .option(
      '--activations <type>',
      'quantize activations, too: int8, float8, float8_e5m2 or float8_e4m3fnuz',
      quantizedType,
    )
    .option(
      '--calibration <file>',
      'text that passes through the model, for activations and for algorithms that see data: UTF-8, - for stdin; for these also .parquet or .jsonl with a field text, messages or input_ids; wikitext2, c4 or pileval of the hub, or a folder that holds one of these',
    )
    .option('--samples <n>', 'of the text, at most so many samples (default: 128)', wholeNumber(1))
    .option('--length <n>', "tokens of a sample (default: 2048, within the model's context)", wholeNumber(2))
    .option('--seed <s>', 'which samples are drawn of a text, and in which order', wholeNumber(0), 0)
    .option('--no-packing', 'make each text of a file a sample of its own, cut at its length')
    .addOption(
      new Option(
        '--algorithm <name>',
        'how codes are chosen: absmax for 8 bits, max for int4, int3 and int2, codebook for nf4 and fp4 (default); hqq searches longer, for int4 and int2; double-quant quantizes the scales of nf4 and fp4 once more; llm-int8 takes int8 weights as bitsandbytes does, which multiplies columns of outliers in floats; for integers, and with commas between them, those that see what passes through the model (--calibration): rotate, smoothquant (int8 alone), awq, gptq, gptaq, autoround, distil-scales; imatrix for the types of GGUF files',
      ).argParser(algorithmNames),
    )
    .addOption(
      new Option(
        '--quality <name>',
        'in place of --algorithm: fast is gptq with a search of scales, in groups of 32; good and best train rounding and scales after it against the float model, 100 or 400 steps; needs --calibration',
      ).choices(['fast', 'good', 'best']),
    )
    .option('--time-limit <seconds>', 'end the training of good and best after so long', wholeNumber(1))
    .option(
      '--resume',
      'keep each block once it is quantized, beside the folder, and go on there when the same command was ended',
    )
    .option('--symmetric', 'of algorithms that see data: ranges around 0, whose zero point is the middle')
    .option('--no-symmetric', 'the same: ranges with a zero point each')
    .option(
      '--act-order <order>',
      'of gptq and gptaq: solve columns with large inputs first, static (default), group-aware, or true, where groups follow the order (g_idx); false: as they stand',
      actOrder,
    )
    .option(
      '--group-size <n>',
      'columns of int4 and int2 weights that share a scale (default: 128, 96, 64 or 32); nf4 and fp4 weights (default: 64)',
      wholeNumber(1),
    )
    .option(
      '--group-sizes <list>',
      'with --target-bits and its like: sizes of groups, such as 32,64,128, among which layers are given theirs (default: that of --group-size alone)',
      wholeNumbers(1),
    )
    .option(
      '--include <glob>',
      'quantize only layers whose path matches, such as "*.mlp.*"; may be repeated',
      repeated,
    )
    .option(
      '--exclude <glob>',
      'keep layers whose path matches in floats, such as lm_head; may be repeated',
      repeated,
    )
    .option(
      '--override <what>',
      'what is otherwise for layers whose path matches a glob or re: pattern: "*.v_proj=int8", with a size of groups "re:.*mlp.*=int3:64" or row, or "*.q_proj=float"; or a .json file with the overrides that the API takes; may be repeated, and the first that fits a layer counts',
      repeated,
    )
    .addOption(
      new Option(
        '--format <scheme>',
        'how the folder stores quantized weights, or gguf for one file (default: auto, the first that holds them as they are)',
      ).choices([
        'auto',
        ...[
          'quanto',
          'awq',
          'awq_gemv',
          'gptq',
          'gptq_v2',
          'bitsandbytes',
          'compressed-tensors',
          'fp8',
          'hqq',
        ],
        ...['bitnet', 'mlx', 'torchao', 'gguf'],
      ]),
    )
    .requiredOption('--out <path>', 'folder, or .gguf file, to write; it appears whole or not at all')
    .option(
      '--overwrite',
      'replace the model that the folder holds, and the page; a folder that holds other files is refused',
    )
    .option(
      '--report <file>',
      'write one HTML page: the error of each layer before and after, the bits chosen, and what each algorithm bought, for which the model is quantized again without the last ones',
    )
    .action(async (model, options) => (await import('./quantize.ts')).quantizeCommand(model, options))
}
