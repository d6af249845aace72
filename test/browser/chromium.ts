import { existsSync, mkdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'

const root = fileURLToPath(new URL('../..', import.meta.url))
const screenshots = join(root, '.cache/screenshots')

/**
 * The system's Chromium, headless. Where there is none the tests fail: a browser is one of the places where
 * lowbit must run.
 */
export async function openChromium(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
  if (!existsSync(executablePath)) {
    throw new Error(
      `The browser tests need Chromium at ${executablePath}; install it, or set CHROMIUM to where it is`,
    )
  }
  return chromium.launch({ executablePath, args: ['--no-sandbox'] })
}

/** Saves what the page looks like, and says where. */
export async function screenshot(t: TestContext, page: Page, name: string): Promise<void> {
  mkdirSync(screenshots, { recursive: true })
  const path = join(screenshots, `${name}.png`)
  await page.screenshot({ path, fullPage: true })
  t.diagnostic(relative(root, path))
}

/**
 * Collects what a page should never say or do: uncaught errors, warnings in its console, requests that fail.
 * @param asking whether it may ask for files that are not there, as it must of a folder whose files it does
 * not know
 */
export function watchComplaints(page: Page, { asking = false } = {}): string[] {
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('requestfailed', (request) => {
    const text = String(request.failure()?.errorText)
    // The body of a 404 is not waited for.
    if (!(asking && text === 'net::ERR_ABORTED')) complaints.push(`${request.url()}: ${text}`)
  })
  page.on('response', (response) => {
    if (response.status() >= 400 && !(asking && response.status() === 404))
      complaints.push(`${response.url()}: ${response.status()}`)
  })
  page.on('console', (message) => {
    const absent = asking && message.text().includes('status of 404')
    if (['error', 'warning'].includes(message.type()) && !absent) complaints.push(message.text())
  })
  return complaints
}
