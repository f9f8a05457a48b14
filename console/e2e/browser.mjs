// A browser at a node, for one test. Where things are is said by the node's test: HULL_URL, HULL_TOKEN,
// HULL_BINARY, HULL_ROOT.

import axe from 'axe-core'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { gunzipSync } from 'node:zlib'
import { chromium } from 'playwright-core'

export const url = process.env.HULL_URL
const out = new URL('.out/', import.meta.url).pathname

/** The command line of the node under test. */
export function hull(...words) {
  const { HULL_BINARY, HULL_ROOT } = process.env
  const env = { PATH: process.env.PATH, HOME: process.env.HOME }
  return execFileSync(HULL_BINARY, ['--root', HULL_ROOT, ...words], { encoding: 'utf8', env })
}

/** The node's API on a socket, for a browser in a network of its own. */
async function relayed() {
  const { hostname, port } = new URL(url)
  const directory = mkdtempSync(`${tmpdir()}/hull-browser-`)
  const path = `${directory}/api`
  const server = createServer((browser) => {
    const node = connect({ host: hostname, port: Number(port) })
    for (const [one, other] of [[browser, node], [node, browser]]) {
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
      one.pipe(other)
    }
  })
  await new Promise((resolve) => server.listen(path, resolve))
  const close = () => {
    server.close()
    rmSync(directory, { recursive: true, force: true })
  }
  return { env: { RELAY_SOCKET: path, RELAY_PORT: port }, close }
}

export async function open(options = {}) {
  const relay = await relayed()
  const browser = await chromium.launch({
    executablePath: new URL('chromium', import.meta.url).pathname,
    args: ['--no-sandbox', '--disable-gpu'],
    env: { ...process.env, ...relay.env },
  })
  browser.on('disconnected', relay.close)
  const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en', viewport: { width: 1280, height: 800 }, ...options })
  context.setDefaultTimeout(60_000)
  if (process.env.HULL_CONSOLE_FROM) await takeFiles(context, process.env.HULL_CONSOLE_FROM)
  const page = await context.newPage()
  const faults = []
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('console', (message) => {
    // A page that asks who it is before it is signed in is told, and the browser writes that down.
    const text = message.text()
    if (message.type() === 'error' && !/status of (400|401|403|404|409|50\d)|ERR_|net::/.test(text)) faults.push(text)
  })
  return { browser, context, page, faults }
}

/** For whoever works on the console: its files come from a build (HULL_CONSOLE_FROM), its headers still from hull. */
async function takeFiles(context, dist) {
  await context.grantPermissions(['local-network-access'])
  await context.route('**/console/**', async (route) => {
    const answer = await route.fetch().catch(() => undefined)
    if (!answer) return route.abort()
    const file = `${dist}/${new URL(route.request().url()).pathname.replace('/console/', '')}`
    if (existsSync(file) && file.includes('/assets/')) {
      const type = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' }[file.split('.').pop()]
      const bytes = readFileSync(file)
      return route.fulfill({ contentType: type, body: bytes[0] === 0x1f ? gunzipSync(bytes) : bytes })
    }
    const nonce = /nonce-(\w+)/.exec(answer.headers()['content-security-policy'])?.[1] ?? ''
    return route.fulfill({ response: answer, body: readFileSync(`${dist}/index.html`, 'utf8').replaceAll('__NONCE__', nonce) })
  })
}

export async function signIn(page) {
  await page.goto(`${url}/console/`)
  await page.getByLabel('Token').fill(process.env.HULL_TOKEN)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
}

/** What keeps somebody from using the page, by WCAG 2.2 at level AA. */
export async function usable(page, where) {
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate(() => axe.run({ exclude: ['.xterm'] }, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }))
  const told = violations.flatMap((it) => it.nodes.map((node) => `${where}: ${it.id}: ${node.target.join(' ')}: ${node.failureSummary?.split('\n')[1]?.trim()}`))
  assert.deepEqual(told, [])
}

/** Nothing stands out of the window. */
export async function fits(page, where) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
  assert.ok(over <= 0, `${where} is ${over} pixels too wide`)
}

export async function picture(page, name) {
  mkdirSync(out, { recursive: true })
  await page.screenshot({ path: `${out}${name}.png` })
}
