import { cpSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { bundle } from '../../examples/browser/build.ts'
import { serve, urlOf } from '../../examples/browser/serve.ts'
import { stories } from '../models/golden.ts'
import { openChromium, watchComplaints } from './chromium.ts'

/** Pages that have the whole API as `lowbit`, and the embedded model beside them, for the tests of a file. */
export class ApiPages {
  /** Of what is served. */
  folder = ''
  /** Bytes of each script. */
  bundled = new Map<string, number>()
  private browser: Browser | undefined
  private readonly servers: Server[] = []

  constructor() {
    before(() => this.start())
    after(() => this.stop())
  }

  async open(isolated: boolean): Promise<{ page: Page; complaints: string[] }> {
    const server = await serve(this.folder, { isolated })
    this.servers.push(server)
    this.browser ??= await openChromium()
    const page = await this.browser.newPage()
    const complaints = watchComplaints(page, { asking: true })
    await page.goto(urlOf(server))
    await page.waitForFunction(() => 'lowbit' in globalThis)
    return { page, complaints }
  }

  private async start(): Promise<void> {
    this.folder = await mkdtemp(join(tmpdir(), 'lowbit-browser-'))
    this.bundled = await bundle({ main: join(import.meta.dirname, 'lowbit.ts') }, this.folder)
    const html = '<!doctype html><link rel="icon" href="data:,"><script type="module" src="main.js"></script>'
    await writeFile(join(this.folder, 'index.html'), html)
    cpSync(stories, join(this.folder, 'stories260K'), { recursive: true })
  }

  private async stop(): Promise<void> {
    await this.browser?.close()
    for (const server of this.servers) server.close()
    await rm(this.folder, { recursive: true, force: true })
  }
}
