#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError, Option } from 'commander'
import {
  algorithmSum,
  listOf,
  orNone,
  quantizedType,
  repeated,
  wholeNumber,
  wholeNumbers,
} from './arguments.ts'
import { addDrawingOptions } from './drawingOptions.ts'
import { handleSignals, interrupted } from './interrupt.ts'
import { fail, printUsageError, watchStreams } from './output.ts'
import { addQuantize } from './quantizeArguments.ts'

/*
 * Only the arguments are read here; each command's code is loaded when it runs, so that `lowbit --help`
 * answers at once.
 */

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

const modelHelp = 'folder in Hugging Face layout, .gguf file, the URL of either, or hub id (org/name)'

const program = new Command('lowbit')
  .description('Quantizes neural networks, runs them, and says what was lost.')
  .version(version)
  .exitOverride()
  .configureOutput({ outputError: printUsageError })
  .addHelpText('after', '\n"lowbit <command> --help" lists the options of a command.')

/** What a cache keeps keys and values as. */
const kvNames = ['float32', 'float16', 'float8', 'int8', 'int4']

const quantize = addQuantize(program, modelHelp)

const imatrix = program
  .command('imatrix')
  .description("write llama.cpp's importance matrix: what the columns of each weight multiply")
  .argument('<model>', modelHelp)
  .requiredOption(
    '--calibration <file>',
    'text, .jsonl or .parquet that passes through the model; wikitext2, c4 and pileval: sets of the hub',
  )
  .option('--samples <n>', 'at most this many samples of the data (default: 128)', wholeNumber(1))
  .option('--length <tokens>', 'tokens of a sample', wholeNumber(1), 512)
  .option('--seed <n>', 'which samples of the data are taken', wholeNumber(0))
  .option('--no-packing', 'make each text of a file a sample of its own, cut at its length')
  .requiredOption('--out <file>', 'file to write; a name that ends in .dat makes it of the older kind')
  .option('--overwrite', 'replace the file that is there')
  .action(async (model, options) => (await import('./imatrix.ts')).imatrixCommand(model, options))

const convert = program
  .command('convert')
  .description(
    'write a model in another format: codes as they are where it can hold them, else quantized anew',
  )
  .argument('<model>', modelHelp)
  .requiredOption(
    '--to <format>',
    'the format, such as gptq, bnb-nf4, quanto, or safetensors for floats; another word lists all',
  )
  .option(
    '--weights <type>',
    "what weights become that cannot go over as they are (default: the format's)",
    quantizedType,
  )
  .option(
    '--group-size <n>',
    "columns of these weights that share a scale (default: the format's)",
    wholeNumber(1),
  )
  .option('--exact-only', 'refuse, before anything is written, what would change a value')
  .option('--include <glob>', 'quantize only layers whose path matches; may be repeated', repeated)
  .option('--exclude <glob>', 'make layers whose path matches floats; may be repeated', repeated)
  .option(
    '--imatrix <file>',
    "of GGUF's types: errors count by what columns multiply, as this importance matrix of llama-imatrix or lowbit imatrix says",
  )
  .requiredOption('--out <path>', 'folder, or .gguf file, to write; it appears whole or not at all')
  .option('--overwrite', 'replace the model that is there; a folder that holds other files is refused')
  .option('--verbose', 'list every tensor')
  .action(async (model, options) => (await import('./convert.ts')).convertCommand(model, options))

const generate = program
  .command('generate')
  .description('continue a prompt')
  .argument('<model>', modelHelp)
  .argument('<prompt>', 'text to continue; - for stdin')
  .option('--logprobs', 'with --json: the log-probability of each new token')
  .option('--top-logprobs <n>', 'with --json: the n likeliest tokens of each place', wholeNumber(0), 0)
  .option('--parse-special-tokens', 'read special tokens that the prompt spells, such as "</s>", as those')
  .option('--chat', "put the prompt into the model's chat template")
  .option(
    '--chat-template <name>',
    'the same, with the template of this name where the model has several (default: the one named default)',
  )
  .action(async (model, prompt, options) =>
    (await import('./generate.ts')).generateCommand(model, prompt, options),
  )

const chat = program
  .command('chat')
  .description('talk with a model; questions come from the terminal, or one a line from a pipe')
  .argument('<model>', modelHelp)
  .option('--system <text>', 'an instruction that stands before all turns')
  .option(
    '--chat-template <name>',
    'the template of this name where the model has several (default: the one named default)',
  )
  .action(async (model, options) => (await import('./chat.ts')).chatCommand(model, options))

const serve = program
  .command('serve')
  .description(
    'serve a model on this machine, as OpenAI serves theirs: /v1/chat/completions, /v1/completions',
  )
  .argument('<model>', modelHelp)
  .option('--host <address>', 'address to listen at', '127.0.0.1')
  .option('--port <n>', 'port to listen at; 0 takes one that is free', wholeNumber(0, 65535), 8000)
  .option('--batch <n>', 'texts that are written at once', wholeNumber(1, 1024), 16)
  .option('--queue <n>', 'texts that may wait; more are refused with 429', wholeNumber(0), 256)
  .option(
    '--context <n>',
    "tokens that a prompt and its text may have (default: the model's context, at most 4096)",
    wholeNumber(1),
  )
  .option('--name <id>', "what requests call the model (default: its folder's or file's name)")
  .option('--api-key <key>', 'refuse requests that do not bear this key')
  .action(async (model, options) => (await import('./serve.ts')).serveCommand(model, options))

const evaluate = program
  .command('evaluate')
  .description(
    'measure perplexity on a text, the distance from a baseline, and how many questions are answered rightly',
  )
  .argument('<model>', modelHelp)
  .option(
    '--text <file>',
    "UTF-8 text; - for stdin; a .parquet, .jsonl or .json file with a field text; wikitext2 or c4 for the hub's, or a folder that holds one of these",
  )
  .addOption(
    new Option(
      '--definition <name>',
      "which tokens are scored: those of whole windows (default); transformers scores an incomplete last one, too; llama.cpp each window's second half",
    ).choices(['whole', 'transformers', 'llama.cpp']),
  )
  .option('--baseline <model>', 'the float model, to compare with token by token')
  .option('--context <n>', "tokens of a window (default: the model's context, at most 2048)", wholeNumber(2))
  .option('--stride <n>', 'tokens between the starts of windows (default: the context)', wholeNumber(1))
  .option('--lambada <file>', 'passages whose last word is to be guessed; JSON lines, a JSON list or parquet')
  .option('--hellaswag <file>', "questions of HellaSwag, in the fields of the hub's data set")
  .option('--arc <file>', 'the same of ARC, easy or challenge')
  .option('--piqa <file>', 'the same of PIQA')
  .option('--winogrande <file>', 'the same of WinoGrande')
  .option('--limit <n>', 'ask the first n questions of each file (default: all)', wholeNumber(1))
  .action(async (model, options) => (await import('./evaluate.ts')).evaluateCommand(model, options))

const sweep = program
  .command('sweep')
  .description(
    'measure the float model and each way to quantize it: size, perplexity, Lambada, time per token, memory; started again, it goes on where it was',
  )
  .argument('<model>', modelHelp)
  .requiredOption('--weights <types>', 'types of weights, such as int8,int4,nf4', listOf(quantizedType))
  .option(
    '--activations <types>',
    'types of activations, such as none,int8 (default: none)',
    listOf(orNone(quantizedType)),
  )
  .option(
    '--algorithm <names>',
    'how codes are chosen, such as none,hqq,gptq,rotate+gptq, as quantize has them; those that see data take --calibration (default: none, the usual one of each type)',
    listOf(orNone(algorithmSum)),
  )
  .option(
    '--calibration <file>',
    'UTF-8 text on which the scales of activations are chosen, and that algorithms see',
  )
  .option('--exclude <glob>', 'keep layers whose path matches in floats; may be repeated', repeated)
  .requiredOption('--text <file>', 'what perplexity is measured on, as of evaluate')
  .option('--lambada <file>', 'passages whose last word is to be guessed, as of evaluate')
  .option('--limit <n>', 'ask the first n passages (default: all)', wholeNumber(1))
  .option('--context <n>', "tokens of a window (default: the model's context, at most 2048)", wholeNumber(2))
  .option('--prompt-tokens <n>', 'tokens of the prompt when time is measured', wholeNumber(1), 128)
  .option('--new-tokens <n>', 'tokens to generate then', wholeNumber(2), 32)
  .requiredOption('--out <folder>', 'folder for results.json and results.md')
  .option('--report <file>', 'write one HTML page with charts of what was measured, the float model first')
  .option('--charts <folder>', 'write these charts as SVG and PNG files')
  .option('--overwrite', 'replace the page, and a folder that holds nothing but charts')
  .action(async (model, options) => (await import('./sweep.ts')).sweepCommand(model, options))

const inspect = program
  .command('inspect')
  .description('show what a model holds, and what its quantization cost')
  .argument('<model>', modelHelp)
  .option('--baseline <model>', 'the float model, for the error of each weight')
  .option('--report <file>', 'with a baseline: write one HTML page with charts of what quantization cost')
  .option('--charts <folder>', 'with a baseline: write these charts as SVG and PNG files')
  .option('--overwrite', 'replace the page, and a folder that holds nothing but charts')
  .option(
    '--text <file>',
    'with a baseline: measure outputs, what each layer costs and how sensitive it is, on the beginning of a text; - for stdin',
  )
  .option('--tokens <n>', 'look at the first n tokens of the text (default: 128)', wholeNumber(2))
  .option('--weights <type>', 'say what memory it would need with weights of this type, as of a config.json')
  .addOption(
    new Option('--kv <name>', 'say it with keys and values kept as this (default: float16)').choices(kvNames),
  )
  .option('--context <n>', "say it for so many tokens (default: the model's context)", wholeNumber(1))
  .action(async (model, options) => {
    const { weights, kv, context } = options
    const asked = model.endsWith('.json') || [weights, kv, context].some((option) => option !== undefined)
    if (asked) return (await import('./memory.ts')).memoryCommand(model, options)
    return (await import('./inspect.ts')).inspectCommand(model, options)
  })

const verify = program
  .command('verify')
  .description(
    'read every tensor of a model, and say what is not as it should be; exit code 1 if it is unsound',
  )
  .argument('<model>', modelHelp)
  .option('--against <model>', 'the float model, for the error of each tensor')
  .action(async (model, options) => (await import('./verify.ts')).verifyCommand(model, options))

const bench = program
  .command('bench')
  .description('measure speed and memory, of several models side by side, the float model first')
  .argument('<model...>', modelHelp)
  .option(
    '--prompt-tokens <n>',
    "tokens of the prompt, as far as the model's context goes",
    wholeNumber(1),
    512,
  )
  .option('--prompt-lengths <n,n>', 'prompts of several lengths, such as 32,512', wholeNumbers(1))
  .option('--batch-sizes <n,n>', 'batches of so many sequences, such as 1,4 (default: 1)', wholeNumbers(1))
  .option('--new-tokens <n>', 'tokens to generate', wholeNumber(2), 64)
  .addOption(
    new Option('--format <name>', 'print a line for each model, batch size and length, as this')
      .choices(['table', 'markdown', 'csv', 'json'])
      .conflicts('json'),
  )
  .option('--figure <file>', 'draw prefill and decode of all of them as one picture, .svg or .png')
  .option('--overwrite', 'replace the picture')
  .action(async (models, options) => (await import('./bench.ts')).benchCommand(models, options))

program
  .command('push')
  .description('put a model onto the Hugging Face hub, with a model card')
  .argument('<model>', 'folder in Hugging Face layout')
  .argument('<id>', 'its name on the hub: org/name')
  .option('--private', 'a model that is new there is seen by its owner alone')
  .option('--base-model <id>', 'the model that it was made of, for the card (default: as config.json says)')
  .option('--json', 'print one JSON document and nothing else')
  .helpOption('-h, --help', 'print this')
  .action(async (folder, id, options) => (await import('./push.ts')).pushCommand(folder, id, options))

addDrawingOptions(generate, 128)
addDrawingOptions(chat, 1024)

for (const [command, usual, usualCache] of [
  [generate, 'int8', 'float16'],
  [chat, 'int8', 'float16'],
  [serve, 'int8', 'float16'],
  [evaluate, 'float32', 'float32'],
  [bench, 'int8', 'float16'],
] as const) {
  const what = `precision of products with quantized weights, where their type allows int8 (default: ${usual})`
  command
    .addOption(new Option('--compute-dtype <name>', what).choices(['float32', 'bfloat16', 'int8']))
    .addOption(
      new Option(
        '--kv <name>',
        `what keys and values of earlier tokens are kept as; int8 and int4 keep the last 128 tokens as float16 (default: ${usualCache})`,
      ).choices(kvNames),
    )
}

for (const command of [generate, chat, serve])
  command.option('--fuse', 'compute products of the same input as one, which writes faster')
bench.option('--fuse', 'measure each model twice: as it is, and with products of the same input as one')

for (const command of [
  quantize,
  imatrix,
  convert,
  generate,
  chat,
  serve,
  evaluate,
  sweep,
  inspect,
  verify,
  bench,
]) {
  command
    .optionsGroup('Options of every command:')
    .addOption(
      new Option('--device <name>', 'where to compute; cpu is native where it was built, else wasm')
        .choices(['cpu', 'native', 'wasm'])
        .default('cpu'),
    )
    .option(
      '--threads <n>',
      'threads of the native device (default: one per core, at most 8)',
      wholeNumber(1, 256),
    )
    .addOption(
      new Option(
        '--dtype <name>',
        'store weights that are not quantized as this (default: as saved)',
      ).choices(['float32', 'float16', 'bfloat16']),
    )
    .option('--json', 'print one JSON document and nothing else')
    .helpOption('-h, --help', 'print this')
}

watchStreams()
handleSignals()
try {
  await program.parseAsync()
} catch (error) {
  // The exit code is set, and the user knows why.
  if (interrupted.aborted) process.exit()
  // Commander has said what is wrong with the usage; 0 is --help or --version.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else fail(error)
}
