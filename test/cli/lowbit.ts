import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'

/*
 * Runs the command line in a process of its own, and makes broken models for it out of the embedded one.
 */

const root = fileURLToPath(new URL('../..', import.meta.url))
export const main = join(root, 'src/cli/main.ts')
export const stories = join(root, 'models/stories260K')
export const text = join(root, 'models/tinystories.txt')
/** Folders that Python's quanto saved, and what transformers computed with them. */
export const golden = join(root, 'test/golden/stories260K')

export interface Ended {
  /** Null when a signal ended the process. */
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** Starts `lowbit` and resolves once it has ended. */
export function lowbit(...args: string[]): Promise<Ended> {
  return ended(start(args))
}

export function start(args: string[]) {
  return spawn(process.execPath, ['--conditions=lowbit-source', main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

export function ended(child: ChildProcessByStdio<Writable | null, Readable, Readable>): Promise<Ended> {
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (piece) => (stdout += piece))
  child.stderr.setEncoding('utf8').on('data', (piece) => (stderr += piece))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** The JSON that a command printed, which must have succeeded and said nothing else. */
export async function json(...args: string[]) {
  const { code, stdout, stderr } = await lowbit(...args, '--json')
  assert.equal(stderr, '')
  assert.equal(code, 0)
  return JSON.parse(stdout)
}

/** What a command that must have succeeded printed. */
export async function printed(...args: string[]) {
  const { code, stdout, stderr } = await lowbit(...args)
  assert.equal(code, 0, stderr)
  return { stdout, stderr }
}

export const close = (received: number, wanted: number, tolerance: number) =>
  assert.ok(Math.abs(received - wanted) <= tolerance, `${received} must be ${wanted} within ${tolerance}`)

/** A folder that goes when the tests of the file have run. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'lowbit-cli-'))
  after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Copies a model to `target` and lets `change` break it. */
export function copyOf(model: string, target: string, change: (folder: string) => void): string {
  cpSync(model, target, { recursive: true })
  change(target)
  return target
}

type Json = Record<string, unknown>

/** Rewrites a JSON file of `folder`. */
export function editJson(folder: string, file: string, change: (json: Json) => void): void {
  const json = JSON.parse(readFileSync(join(folder, file), 'utf8'))
  change(json)
  writeFileSync(join(folder, file), JSON.stringify(json))
}

export interface HeaderEntry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

/**
 * Rewrites the header and the data of model.safetensors; `change` may return another header as text or bytes.
 */
export function editTensors(
  folder: string,
  change: (header: Record<string, HeaderEntry>, data: Buffer) => string | Uint8Array | undefined,
): void {
  const path = join(folder, 'model.safetensors')
  const bytes = readFileSync(path)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length))
  const data = bytes.subarray(8 + length)
  const changed = Buffer.from(change(header, data) ?? JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(changed.length))
  writeFileSync(path, Buffer.concat([prefix, changed, data]))
}
