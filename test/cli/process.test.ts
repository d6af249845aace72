import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ended, lowbit, main, start, stories, temporaryFolder, text } from './lowbit.ts'

/*
 * The process around the commands: usage, signals, full disks, pipes that close, and how soon it answers and
 * ends.
 */

const root = temporaryFolder()
const asRoot = process.getuid?.() === 0
/** Large enough to be caught in the middle of a save. */
const large = join(root, 'large')
const promptlyMs = 3000

/** The embedded model's config and tokenizer around 40 MB of weights that follow no training. */
before(() => {
  cpSync(stories, large, { recursive: true })
  const sizes = {
    hidden_size: 512,
    intermediate_size: 2048,
    num_hidden_layers: 5,
    num_attention_heads: 8,
    num_key_value_heads: 8,
    head_dim: 64,
  }
  const config = { ...JSON.parse(readFileSync(join(stories, 'config.json'), 'utf8')), ...sizes }
  writeFileSync(join(large, 'config.json'), JSON.stringify(config))
  const shapes: Record<string, number[]> = {
    'model.embed_tokens.weight': [512, 512],
    'model.norm.weight': [512],
  }
  for (let layer = 0; layer < sizes.num_hidden_layers; layer++) {
    const path = `model.layers.${layer}`
    for (const name of ['q', 'k', 'v', 'o']) shapes[`${path}.self_attn.${name}_proj.weight`] = [512, 512]
    for (const name of ['gate', 'up']) shapes[`${path}.mlp.${name}_proj.weight`] = [2048, 512]
    shapes[`${path}.mlp.down_proj.weight`] = [512, 2048]
    for (const name of ['input', 'post_attention']) shapes[`${path}.${name}_layernorm.weight`] = [512]
  }
  let end = 0
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const begin = end
    end += 2 * shape.reduce((product, size) => product * size, 1)
    return [name, { dtype: 'BF16', shape, data_offsets: [begin, end] }]
  })
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  // bfloat16 values between 2^-7 and 2^-5, of both signs.
  const values = Uint16Array.from(
    { length: end / 2 },
    (_, i) => 0x3c00 | ((i * 40503) & 0x807f) | ((i & 1) << 7),
  )
  writeFileSync(join(large, 'model.safetensors'), Buffer.concat([length, header, Buffer.from(values.buffer)]))
})

/** An empty folder to save in. */
function place(name: string): string {
  const path = join(root, name)
  mkdirSync(path)
  return path
}

/** Resolves once a save has begun in `folder`. */
async function saveBegun(folder: string): Promise<void> {
  while (!readdirSync(folder).some((name) => name.startsWith('.lowbit-')))
    await new Promise((resolve) => setTimeout(resolve, 1))
}

const saveLarge = (folder: string) => ['quantize', large, '--weights', 'int8', '--out', join(folder, 'model')]

for (const delayMs of [0, 10, 40]) {
  test(`Ctrl-C ${delayMs} ms into a save leaves nothing`, async () => {
    const folder = place(`interrupted-${delayMs}`)
    const child = start(saveLarge(folder))
    await saveBegun(folder)
    await new Promise((resolve) => setTimeout(resolve, delayMs))
    const sent = performance.now()
    child.kill('SIGINT')
    const { code, stdout, stderr } = await ended(child)
    assert.ok(performance.now() - sent < promptlyMs, `${performance.now() - sent} ms`)
    assert.deepEqual([code, stdout, stderr], [130, '', ''])
    assert.deepEqual(readdirSync(folder), [])
  })
}

test('kill -9 in a save leaves no folder, and the next save removes what it left', async () => {
  const folder = place('killed')
  const child = start(saveLarge(folder))
  await saveBegun(folder)
  child.kill('SIGKILL')
  await ended(child)
  assert.match(readdirSync(folder).join(), /^\.lowbit-\d+-[0-9a-f]+$/)
  assert.equal(
    (await lowbit('quantize', stories, '--weights', 'int8', '--out', join(folder, 'model'))).code,
    0,
  )
  assert.deepEqual(readdirSync(folder), ['model'])
})

for (const [name, ...args] of [
  ['quantize', large, '--weights', 'int8', '--out', join(root, 'never'), '--device', 'wasm'],
  ['generate', large, 'Once upon a time', '--max-new-tokens', '400', '--device', 'wasm'],
  ['evaluate', large, '--text', text, '--device', 'wasm'],
  ['bench', large, '--device', 'wasm'],
]) {
  test(`Ctrl-C ends ${name} promptly with exit code 130`, async () => {
    const child = start([name, ...args])
    await new Promise((resolve) => setTimeout(resolve, 800))
    const sent = performance.now()
    child.kill('SIGINT')
    const { code, signal, stderr } = await ended(child)
    assert.ok(performance.now() - sent < promptlyMs, `${performance.now() - sent} ms`)
    // While it starts, or tokenizes without yielding, the signal itself ends it: a shell shows 130 for both.
    assert.ok(code === 130 || signal === 'SIGINT', `exit code ${code}, signal ${signal}`)
    assert.equal(stderr, '')
    assert.equal(existsSync(join(root, 'never')), false)
  })
}

test('- reads the prompt, the text and the calibration from stdin', () => {
  const piped = (input: string | Buffer, ...args: string[]) => {
    const options = ['--conditions=lowbit-source', main, ...args]
    const { status, stdout, stderr } = spawnSync(process.execPath, options, { input, encoding: 'utf8' })
    return { code: status, stdout, stderr }
  }
  const generated = (input: string, prompt: string) =>
    piped(input, 'generate', stories, prompt, '--max-new-tokens', '8', '--json')
  const ids = ({ stdout }: { stdout: string }) => JSON.parse(stdout).tokenIds
  // The line break that `echo` adds is none of the prompt.
  assert.deepEqual(ids(generated('Once upon a time\n', '-')), ids(generated('', 'Once upon a time')))
  const evaluated = (input: string | Buffer, name: string) =>
    piped(input, 'evaluate', stories, '--text', name, '--context', '128', '--json')
  assert.deepEqual(
    JSON.parse(evaluated(readFileSync(text), '-').stdout),
    JSON.parse(evaluated('', text).stdout),
  )
  const types = [
    '--weights',
    'int8',
    '--activations',
    'int8',
    '--calibration',
    '-',
    '--out',
    join(root, 'piped'),
  ]
  assert.deepEqual(
    [piped(readFileSync(text), 'quantize', stories, ...types).code, existsSync(join(root, 'piped'))],
    [0, true],
  )
  for (const [input, says] of [
    ['', 'lowbit: stdin: the text must have words; it is empty\n'],
    [Buffer.of(0xff, 0xfe), 'lowbit: stdin: text must be valid UTF-8; it is not\n'],
  ] as const)
    assert.deepEqual(evaluated(input, '-'), { code: 1, stdout: '', stderr: says })
})

test('Ctrl-C ends a command that waits for stdin', async () => {
  const child = spawn(process.execPath, ['--conditions=lowbit-source', main, 'generate', stories, '-'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.write('Once')
  await new Promise((resolve) => setTimeout(resolve, 800))
  const sent = performance.now()
  child.kill('SIGINT')
  const code = await new Promise((resolve) => child.on('close', resolve))
  assert.ok(performance.now() - sent < promptlyMs, `${performance.now() - sent} ms`)
  assert.equal(code, 130)
})

test('a full disk is one line, and leaves nothing', {
  skip: !asRoot && 'only root mounts file systems',
}, async () => {
  const disk = place('disk')
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=100k', 'lowbit-test', disk])
  try {
    const { code, stdout, stderr } = await lowbit(
      'quantize',
      stories,
      '--weights',
      'int8',
      '--out',
      join(disk, 'model'),
    )
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(
      stderr,
      /^lowbit: save .*disk\/model: the disk must have room for the folder; it is full \(ENOSPC\)\n$/,
    )
    assert.deepEqual(readdirSync(disk), [])
  } finally {
    execFileSync('umount', [disk])
  }
})

test('a reader of stdout that goes away ends the command quietly', async () => {
  const child = start(['inspect', stories])
  child.stdout.destroy()
  const { code, stderr } = await ended(child)
  assert.deepEqual([code, stderr], [0, ''])
})

test('a stdout that takes no more is one line', {
  skip: !existsSync('/dev/full') && 'there is no /dev/full',
}, () => {
  const full = openSync('/dev/full', 'w')
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--conditions=lowbit-source', main, 'inspect', stories],
    {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    },
  )
  assert.deepEqual([status, stderr], [1, 'lowbit: stdout: must take what is printed; it refuses (ENOSPC)\n'])
})

for (const [name, args, says] of [
  ['an unknown command', ['quantise', 'x'], /unknown command 'quantise' \(Did you mean quantize\?\)/],
  ['a missing argument', ['generate', stories], /missing required argument 'prompt'/],
  ['too many arguments', ['inspect', stories, 'x'], /too many arguments/],
  [
    'a missing option',
    ['quantize', stories, '--weights', 'int4'],
    /required option '--out <path>' not specified/,
  ],
  ['an unknown option', ['inspect', stories, '--jsno'], /unknown option '--jsno' \(Did you mean --json\?\)/],
  [
    'no threads',
    ['bench', stories, '--threads', '0'],
    /'--threads <n>' argument '0' is invalid\. It must be a whole number, 1 to 256/,
  ],
  [
    'half a token',
    ['generate', stories, 'x', '--max-new-tokens', '1.5'],
    /argument '1\.5' is invalid\. It must be a whole number, 0 or more/,
  ],
  [
    'a probability of 2',
    ['generate', stories, 'x', '--top-p', '2'],
    /argument '2' is invalid\. It must be a number above 0, at most 1/,
  ],
  [
    'a negative temperature',
    ['generate', stories, 'x', '--temperature', '-1'],
    /argument '-1' is invalid\. It must be a number, 0 or more/,
  ],
  [
    'an unknown type',
    ['quantize', stories, '--weights', 'int5', '--out', 'x'],
    /'int5' is invalid\. It must be int8, int4, int3, int2, float8/,
  ],
  [
    'an unknown algorithm',
    ['quantize', stories, '--weights', 'int4', '--algorithm', 'best', '--out', 'x'],
    /--algorithm <name>.*It must be one of absmax, max, hqq, codebook, double-quant, llm-int8/,
  ],
  [
    'a compute type where nothing is multiplied',
    ['inspect', stories, '--compute-dtype', 'int8'],
    /unknown option '--compute-dtype'/,
  ],
  [
    'an unknown dtype',
    ['inspect', stories, '--dtype', 'float64'],
    /Allowed choices are float32, float16, bfloat16/,
  ],
  ['an unknown device', ['inspect', stories, '--device', 'tpu'], /Allowed choices are cpu, native, wasm/],
] as const) {
  test(`usage: ${name} is exit code 2 and one line`, async () => {
    const { code, stdout, stderr } = await lowbit(...args)
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, /^lowbit: [^\n]+\n$/)
    assert.match(stderr, says)
  })
}

test('usage: no command prints the help', async () => {
  const { code, stderr } = await lowbit()
  assert.equal(code, 2)
  assert.match(stderr, /^Usage: lowbit/)
})

test('help and version are exit code 0 on stdout', async () => {
  for (const args of [
    ['--help'],
    ['help', 'quantize'],
    ['--version'],
    ...['quantize', 'generate', 'evaluate', 'inspect', 'bench'].map((name) => [name, '--help']),
  ]) {
    const { code, stdout, stderr } = await lowbit(...args)
    assert.deepEqual([code, stderr], [0, ''], args.join(' '))
    assert.match(stdout, args[0] === '--version' ? /^\d+\.\d+\.\d+\n$/ : /^Usage: lowbit/)
  }
})

test('--help and import answer at once', async (t) => {
  const median = async (args: string[]) => {
    const times: number[] = []
    for (let run = 0; run < 5; run++) {
      const started = performance.now()
      await new Promise((resolve) => spawn(process.execPath, args, { stdio: 'ignore' }).on('close', resolve))
      times.push(performance.now() - started)
    }
    return times.sort((a, b) => a - b)[2]
  }
  const dist = new URL('../../dist/', import.meta.url)
  // From source TypeScript is stripped of its types first; the figures that count are those of what is
  // published.
  const built = existsSync(new URL('index.js', dist))
  const empty = await median(['--input-type=module', '-e', ''])
  const help = await median(
    built
      ? [fileURLToPath(new URL('cli/main.js', dist)), '--help']
      : ['--conditions=lowbit-source', main, '--help'],
  )
  const conditions = built ? [] : ['--conditions=lowbit-source']
  const index = built ? new URL('index.js', dist) : new URL('../../src/index.ts', import.meta.url)
  const imported =
    (await median([...conditions, '--input-type=module', '-e', `import ${JSON.stringify(index.href)}`])) -
    empty
  const figures = `--help ${help.toFixed(0)} ms, import ${imported.toFixed(0)} ms on top of Node's ${empty.toFixed(0)} ms (${built ? 'dist' : 'source'})`
  t.diagnostic(figures)
  assert.ok(help < 1500 && imported < 1000, figures)
})
