import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { saveFolder } from '../../src/formats/atomicFolder.node.ts'
import { type FolderSink, writeText } from '../../src/formats/source.ts'

const root = mkdtempSync(join(tmpdir(), 'lowbit-save-'))
after(() => rmSync(root, { recursive: true, force: true }))
const asRoot = process.getuid?.() === 0

let cases = 0
/** An empty folder of its own for each test. */
function place(): string {
  const path = join(root, `case-${cases++}`)
  mkdirSync(path)
  return path
}

/** A process number that nobody has: that of a child that has ended. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', ''])
  await once(child, 'exit')
  return child.pid ?? 0
}

const two = async (folder: FolderSink) => {
  await writeText(folder, 'config.json', '{}')
  await writeText(folder, 'onnx/weights.txt', 'new')
}

/** The one file that saves here may replace. */
const overwrite = (name: string) => name === 'old.txt'

/** A file system of `kilobytes` mounted for one test; only root can. */
async function onSmallDisk(kilobytes: number, use: (path: string) => Promise<void>): Promise<void> {
  const path = place()
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'lowbit-test', path])
  try {
    await use(path)
  } finally {
    execFileSync('umount', [path])
  }
}

test('a new folder appears whole, and nothing beside it', async () => {
  const parent = place()
  const target = join(parent, 'a/b/model')
  assert.equal(
    await saveFolder(target, async (folder) => {
      await two(folder)
      assert.equal(existsSync(target), false)
      assert.match(
        readdirSync(join(parent, 'a/b')).join(),
        new RegExp(`^\\.lowbit-${process.pid}-[0-9a-f]{12}$`),
      )
      return 7
    }),
    7,
  )
  assert.equal(readFileSync(join(target, 'onnx/weights.txt'), 'utf8'), 'new')
  assert.deepEqual(readdirSync(join(parent, 'a/b')), ['model'])
  assert.equal(process.listenerCount('SIGINT'), 0)
})

test('an empty folder is filled, a full one refused or replaced', async () => {
  const parent = place()
  const target = join(parent, 'model')
  mkdirSync(target)
  await saveFolder(target, (folder) => writeText(folder, 'old.txt', 'old'))
  const refused = `save ${target}: the folder must be empty or not exist, unless overwrite is set; it holds old.txt`
  await assert.rejects(saveFolder(target, two), { name: 'FormatError', message: refused })
  assert.deepEqual(readdirSync(target), ['old.txt'])
  await saveFolder(target, two, { overwrite })
  assert.deepEqual(readdirSync(target).sort(), ['config.json', 'onnx'])
  assert.deepEqual(readdirSync(parent), ['model'])
})

test('overwrite replaces nothing but what it may, and names the rest', async () => {
  const parent = place()
  const target = join(parent, 'project')
  const foreign = ['.gitignore', 'README.md', 'package.json', 'tsconfig.json', 'zoo.txt']
  const refused = (names: string) => ({
    name: 'FormatError',
    message: `save ${target}: overwrite must find the files of a save alone; the folder also holds ${names}`,
  })
  mkdirSync(join(target, 'src'), { recursive: true })
  writeFileSync(join(target, 'src/index.ts'), 'export {}')
  for (const name of ['old.txt', ...foreign]) writeFileSync(join(target, name), name)
  const before = readdirSync(target)
  await assert.rejects(
    saveFolder(target, two, { overwrite }),
    refused('.gitignore, README.md, package.json, src/ and 2 more'),
  )
  assert.deepEqual([readdirSync(target), readdirSync(parent)], [before, ['project']])
  assert.equal(readFileSync(join(target, 'src/index.ts'), 'utf8'), 'export {}')
  for (const name of foreign) rmSync(join(target, name))
  await assert.rejects(saveFolder(target, two, { overwrite }), refused('src/'))
  rmSync(join(target, 'src'), { recursive: true })
  // A folder and a link are no files of a save, whatever they are called.
  rmSync(join(target, 'old.txt'))
  mkdirSync(join(target, 'old.txt'))
  await assert.rejects(saveFolder(target, two, { overwrite }), refused('old.txt/'))
  rmSync(join(target, 'old.txt'), { recursive: true })
  symlinkSync('../elsewhere', join(target, 'old.txt'))
  await assert.rejects(saveFolder(target, two, { overwrite }), refused('old.txt'))
  rmSync(join(target, 'old.txt'))
  // What a dead process left of a save into the folder is a save's own.
  mkdirSync(join(target, `.lowbit-${await deadPid()}-0123456789ab`))
  writeFileSync(join(target, 'old.txt'), 'old')
  await saveFolder(target, two, { overwrite })
  assert.deepEqual(readdirSync(target).sort(), ['config.json', 'onnx'])
})

test('a file that appears while the folder is written stops the replacement', async () => {
  const target = join(place(), 'model')
  mkdirSync(target)
  writeFileSync(join(target, 'old.txt'), 'old')
  const meanwhile = async (folder: FolderSink) => {
    await two(folder)
    writeFileSync(join(target, 'notes.md'), 'mine')
  }
  await assert.rejects(saveFolder(target, meanwhile, { overwrite }), /the folder also holds notes\.md$/)
  assert.deepEqual(readdirSync(target).sort(), ['notes.md', 'old.txt'])
})

test('a home folder is not replaced, not even an empty one', async () => {
  const home = place()
  const before = process.env.HOME
  process.env.HOME = home
  try {
    await assert.rejects(saveFolder(home, two, { overwrite }), {
      name: 'FormatError',
      message: `save ${home}: the folder must be replaceable as a whole; it holds the home folder, so name one inside it`,
    })
  } finally {
    process.env.HOME = before
  }
})

test('a link that leads nowhere is refused', async () => {
  const parent = place()
  symlinkSync('nowhere', join(parent, 'link'))
  await assert.rejects(saveFolder(join(parent, 'link'), two, { overwrite }), {
    name: 'FormatError',
    message: `save ${join(parent, 'link')}: the target must be a folder or not exist; it is a link that leads nowhere`,
  })
  assert.deepEqual(readdirSync(parent), ['link'])
})

test('a link to a folder stays a link', async () => {
  const parent = place()
  mkdirSync(join(parent, 'real'))
  writeFileSync(join(parent, 'real/old.txt'), 'old')
  symlinkSync('real', join(parent, 'link'))
  await saveFolder(join(parent, 'link'), two, { overwrite })
  assert.deepEqual(readdirSync(join(parent, 'real')).sort(), ['config.json', 'onnx'])
  assert.deepEqual(readdirSync(parent).sort(), ['link', 'real'])
})

test('a failure leaves the old folder and nothing else', async () => {
  const parent = place()
  const target = join(parent, 'model')
  await saveFolder(target, (folder) => writeText(folder, 'old.txt', 'old'))
  const failing = async (folder: FolderSink) => {
    await folder.create('left-open.bin')
    throw new RangeError('mine')
  }
  await assert.rejects(saveFolder(target, failing, { overwrite }), { name: 'RangeError', message: 'mine' })
  for (const name of ['../outside', '/outside', 'a/../../outside']) {
    await assert.rejects(
      saveFolder(target, (folder) => writeText(folder, name, 'x'), { overwrite }),
      /must be a plain path inside the folder/,
    )
  }
  assert.deepEqual([readdirSync(parent), readdirSync(target)], [['model'], ['old.txt']])
})

test('the working folder is not replaced under the process', async () => {
  for (const target of ['.', process.cwd(), '..', '/']) {
    await assert.rejects(saveFolder(target, two, { overwrite }), {
      name: 'FormatError',
      message: `save ${target}: the folder must be replaceable as a whole; it holds the working folder, so name one inside it`,
    })
  }
})

test('an abort stops the save with its reason', async () => {
  const parent = place()
  const abort = new AbortController()
  const endless = async (folder: FolderSink) => {
    const sink = await folder.create('x.bin')
    abort.abort(new Error('the user left'))
    for (;;) await sink.write(new Uint8Array(10))
  }
  await assert.rejects(saveFolder(join(parent, 'model'), endless, { signal: abort.signal }), {
    message: 'the user left',
  })
  await assert.rejects(
    saveFolder(join(parent, 'model'), two, { signal: AbortSignal.abort(new Error('before')) }),
    { message: 'before' },
  )
  assert.deepEqual(readdirSync(parent), [])
})

test('a target that is or lies below a file is refused', async () => {
  const parent = place()
  writeFileSync(join(parent, 'file'), 'x')
  await assert.rejects(saveFolder(join(parent, 'file'), two, { overwrite }), {
    name: 'FormatError',
    message: `save ${join(parent, 'file')}: the target must be a folder or not exist; it is a file`,
  })
  for (const below of ['file/model', 'file/a/model']) {
    await assert.rejects(saveFolder(join(parent, below), two), {
      name: 'FormatError',
      message: /: every part of the path must be a folder.*; one is .*\((ENOTDIR|EEXIST)\)$/,
    })
  }
  assert.deepEqual(readdirSync(parent), ['file'])
})

test('a full disk is one sentence, and is given its room back', async () => {
  const parent = place()
  // The device that is always full gives the system's own error, whoever runs this.
  await assert.rejects(
    saveFolder(join(parent, 'model'), () => writeFile('/dev/full', 'x')),
    {
      name: 'FormatError',
      message: `save ${join(parent, 'model')}: the disk must have room for the folder; it is full (ENOSPC)`,
    },
  )
  assert.deepEqual(readdirSync(parent), [])
})

test('a small disk fills up while tensors are written', {
  skip: !asRoot && 'mounting needs root',
}, async () => {
  await onSmallDisk(256, async (disk) => {
    const target = join(disk, 'model')
    await saveFolder(target, (folder) => writeText(folder, 'old.txt', 'old'))
    const large = async (folder: FolderSink) => {
      const sink = await folder.create('model.safetensors')
      for (let i = 0; i < 100; i++) await sink.write(new Uint8Array(10_000))
      await sink.close()
    }
    await assert.rejects(saveFolder(target, large, { overwrite }), {
      name: 'FormatError',
      message: `save ${target}: the disk must have room for the folder; it is full (ENOSPC)`,
    })
    assert.deepEqual([readdirSync(disk), readdirSync(target)], [['model'], ['old.txt']])
    await saveFolder(target, two, { overwrite })
  })
})

test('a read-only disk and a mount point are refused', {
  skip: !asRoot && 'mounting needs root',
}, async () => {
  await onSmallDisk(64, async (disk) => {
    await assert.rejects(saveFolder(disk, two), {
      name: 'FormatError',
      message: /the folder must be replaceable as a whole; it is .*mount point/,
    })
    execFileSync('mount', ['-o', 'remount,ro', disk])
    await assert.rejects(saveFolder(join(disk, 'model'), two), {
      name: 'FormatError',
      message: `save ${join(disk, 'model')}: the file system must be writable; it is read-only (EROFS)`,
    })
    assert.deepEqual(readdirSync(disk), [])
  })
})

test('a folder without permission is refused', async () => {
  const parent = place()
  mkdirSync(join(parent, 'locked'), { mode: 0o555 })
  const save = () => saveFolder(join(parent, 'locked/model'), two)
  // Root may write anywhere, so it becomes nobody for the call.
  if (asRoot) chmodSync(root, 0o755)
  if (asRoot) process.seteuid?.(65534)
  try {
    await assert.rejects(save(), {
      name: 'FormatError',
      message: /the folder around it must be writable; permission denied \(EACCES\)$/,
    })
  } finally {
    if (asRoot) process.seteuid?.(0)
  }
  assert.deepEqual(readdirSync(join(parent, 'locked')), [])
})

test('what dead processes left beside the target is removed, and only that', async () => {
  const parent = place()
  const dead = await deadPid()
  const alive = `.lowbit-${process.ppid}-000000000001`
  const kept = [alive, '.lowbit-notes', `.lowbit-${dead}-short`, 'other']
  for (const name of [
    ...kept,
    `.lowbit-${dead}-0123456789ab`,
    `.lowbit-${dead}-0123456789ab.replaced.model`,
  ]) {
    mkdirSync(join(parent, name))
    writeFileSync(join(parent, name, 'x'), 'x')
  }
  // Left by an earlier process that had the number of this one.
  mkdirSync(join(parent, `.lowbit-${process.pid}-0123456789ab`))
  mkdirSync(join(parent, 'model'))
  await saveFolder(join(parent, 'model'), two)
  assert.deepEqual(readdirSync(parent).sort(), [...kept, 'model'].sort())
})

test('a folder that a dead process had moved aside comes back', async () => {
  const parent = place()
  const aside = join(parent, `.lowbit-${await deadPid()}-0123456789ab.replaced.model`)
  mkdirSync(aside)
  writeFileSync(join(aside, 'old.txt'), 'old')
  await assert.rejects(saveFolder(join(parent, 'model'), two), /it holds old.txt$/)
  assert.deepEqual(readdirSync(join(parent, 'model')), ['old.txt'])
})

test('two saves at once beside each other do not disturb each other', async () => {
  const parent = place()
  await saveFolder(join(parent, 'a'), async (folder) => {
    await writeText(folder, 'first.txt', '1')
    await saveFolder(join(parent, 'b'), two)
    await writeText(folder, 'second.txt', '2')
  })
  assert.deepEqual(
    [readdirSync(parent).sort(), readdirSync(join(parent, 'a')).sort()],
    [
      ['a', 'b'],
      ['first.txt', 'second.txt'],
    ],
  )
})

/** A child in the middle of replacing `target`. */
async function saving(target: string, ...args: string[]): Promise<ChildProcess> {
  const script = join(import.meta.dirname, 'saveUntilKilled.ts')
  const child = spawn(process.execPath, ['--conditions=lowbit-source', script, target, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  child.stdout?.setEncoding('utf8')
  const [line] = await once(child.stdout as NodeJS.EventEmitter, 'data')
  assert.match(line, /^writing/)
  return child
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
  test(`${signal} while saving leaves the old folder whole`, { timeout: 60_000 }, async () => {
    const parent = place()
    const target = join(parent, 'model')
    await saveFolder(target, (folder) => writeText(folder, 'old.txt', 'old'))
    const child = await saving(target)
    assert.equal(readdirSync(parent).length, 2)
    child.kill(signal)
    assert.deepEqual(await once(child, 'exit'), [null, signal])
    assert.deepEqual(readdirSync(target), ['old.txt'])
    const left = readdirSync(parent).filter((name) => name !== 'model')
    assert.equal(left.length, signal === 'SIGKILL' ? 1 : 0, left.join())
    await saveFolder(join(parent, 'next'), two)
    assert.deepEqual(readdirSync(parent).sort(), ['model', 'next'])
  })
}

test('a program that handles SIGINT itself goes on, and its save fails in one sentence', {
  timeout: 60_000,
}, async () => {
  const parent = place()
  const child = await saving(join(parent, 'model'), 'handles')
  let output = ''
  child.stdout?.on('data', (text) => (output += text))
  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'close'), [0, null])
  assert.equal(output, 'heard\nFormatError: save: the process must not be interrupted; received SIGINT\n')
  assert.deepEqual(readdirSync(parent), [])
})
