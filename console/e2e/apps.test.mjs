// An application from the catalog: found, asked for, seen to come up, opened, scaled, entered, changed, taken back and
// removed. And the catalogs themselves.

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { fits, hull, open, picture, signIn, url, usable } from './browser.mjs'

/** What takes long where much else is done. */
const LONG = { timeout: 180_000 }

/** A port that nobody has, and that no connection of others is given by the kernel meanwhile. */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = createServer()
    const bound = await new Promise((resolve) => server.once('error', () => resolve(false)).listen(port, '0.0.0.0', () => resolve(true)))
    if (!bound) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

/** The next step only after this one: what follows a step that failed would only wait in vain. */
function steps(t) {
  let failed = false
  return (name, step) =>
    t.test(name, async (inner) => {
      if (failed) return inner.skip('a step before it failed')
      failed = true
      await step()
      failed = false
    })
}

const head = (page, state) => page.locator('.page-head').getByText(state, { exact: true })

/** Tries until what is asked for answers as it should. */
async function answers(address, look) {
  const end = Date.now() + LONG.timeout
  for (let last = 'nothing'; ; ) {
    try {
      const response = await fetch(address, { signal: AbortSignal.timeout(5000) })
      const text = await response.text()
      if (look(response, text)) return
      last = `${response.status} ${text.slice(0, 200)}`
    } catch (error) {
      last = String(error.cause ?? error)
    }
    assert.ok(Date.now() < end, `${address} answers ${last}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

test('an application from the catalog', async (t) => {
  const { browser, page, faults } = await open()
  t.after(() => browser.close())
  const step = steps(t)
  const port = await freePort()
  await signIn(page)

  await step('it is found', async () => {
    await page.getByRole('link', { name: 'Catalog' }).click()
    await page.getByLabel('Search the catalog').fill('web server files')
    await page.getByRole('link', { name: /nginx/ }).waitFor(LONG)
    await page.waitForFunction(() => [...document.querySelectorAll('.tile img')].every((it) => it.complete && it.naturalWidth > 0))
    await usable(page, 'catalog')
    await picture(page, 'catalog')
    await page.getByRole('link', { name: /nginx/ }).first().click()
    await page.getByRole('heading', { name: 'nginx' }).first().waitFor()
  })

  await step('it asks, and says what it would make', async () => {
    await page.getByText('make yours there', { exact: false }).or(page.locator('.prose')).first().waitFor()
    await page.getByLabel('Name of the app').fill('site')
    await page.getByLabel('Port', { exact: true }).fill(String(port))
    await page.getByLabel('Image', { exact: true }).fill('nginx')
    assert.match(await page.getByLabel('On the command line').first().textContent(), /hull catalog install builtin\/nginx.*--set port=/)
    await usable(page, 'template')
    await picture(page, 'template')
    await page.getByRole('button', { name: 'Install' }).click()
    const plan = page.getByRole('dialog')
    await plan.getByText('created').first().waitFor()
    await plan.getByText('content').first().waitFor()
    await usable(page, 'plan')
    await picture(page, 'plan')
    await plan.getByRole('button', { name: 'Install' }).click()
  })

  await step('it comes up, and its address opens', async () => {
    await page.getByRole('heading', { name: 'Apps / site' }).waitFor(LONG)
    await head(page, 'ready').waitFor(LONG)
    const link = page.locator('.page-head').getByRole('link', { name: 'Open' })
    assert.equal(await link.getAttribute('href'), `http://127.0.0.1:${port}/`)
    await answers(`http://127.0.0.1:${port}/`, (response) => response.headers.get('server')?.startsWith('nginx'))
    await usable(page, 'app')
    await picture(page, 'app')
  })

  await step('its graph is walked through by keyboard', async () => {
    const box = page.getByRole('link', { name: /^web 1 of 1 ready, on network/ })
    await box.focus()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'site-web' }).waitFor()
    await page.goBack()
    await head(page, 'ready').waitFor(LONG)
  })

  await step('one more of it', async () => {
    await page.getByRole('button', { name: 'One more of web' }).click()
    await page.getByText('2 / 2', { exact: true }).waitFor(LONG)
    assert.match(hull('ps'), /site-web-2/)
  })

  await step('a terminal in it', async () => {
    await page.getByRole('link', { name: 'site-web-1' }).click()
    await page.getByRole('tab', { name: 'Terminal' }).click()
    await page.locator('.xterm-screen').waitFor()
    await page.locator('.xterm-helper-textarea').focus()
    await page.keyboard.type('echo from the console > /usr/share/nginx/html/hello.txt; echo $((6*7)) done\n')
    await page.locator('.xterm').getByText('42 done').first().waitFor(LONG)
    await picture(page, 'app-terminal')
    await answers(`http://127.0.0.1:${port}/hello.txt`, (_, text) => text.trim() === 'from the console')
  })

  await step('another answer changes it', async () => {
    await page.goto(`${url}/console/apps/default/site`)
    await page.getByRole('link', { name: 'Upgrade or change answers' }).click()
    await page.getByLabel('How many').fill('3')
    await page.getByRole('button', { name: 'See what changes' }).click()
    const plan = page.getByRole('dialog')
    await plan.getByText('changed').first().waitFor()
    await picture(page, 'upgrade')
    await plan.getByRole('button', { name: 'Apply' }).click()
    await page.getByText('3 / 3', { exact: true }).waitFor(LONG)
    await head(page, 'ready').waitFor(LONG)
  })

  await step('its history tells what differs, and goes back', async () => {
    await page.getByRole('tab', { name: 'History' }).click()
    await page.getByRole('button', { name: 'What differs between revision 1 and now' }).click()
    await page.getByText(/replicas/).first().waitFor()
    await usable(page, 'history')
    await picture(page, 'history')
    await page.getByRole('button', { name: 'Go back to it' }).last().click()
    await page.getByRole('dialog').getByText('changed').first().waitFor()
    await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click()
    await page.getByRole('tab', { name: 'Status' }).click()
    await page.getByText('1 / 1', { exact: true }).waitFor(LONG)
    await head(page, 'ready').waitFor(LONG)
    // What was written is in its volume, and that stays.
    await answers(`http://127.0.0.1:${port}/hello.txt`, (_, text) => text.trim() === 'from the console')
  })

  await step('it goes, with its volume', async () => {
    await page.getByRole('button', { name: 'Remove' }).click()
    await page.getByLabel('Its volumes too').check()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByText('No apps yet').waitFor(LONG)
    assert.doesNotMatch(hull('volume', 'ls'), /site/)
  })

  assert.deepEqual(faults, [])
})

test('catalogs are added, read again and removed', async (t) => {
  const { browser, page, faults } = await open()
  t.after(() => browser.close())
  const step = steps(t)
  const root = `${process.env.HULL_ROOT}/catalog-of-a-test`
  const put = (path, text) => {
    mkdirSync(`${root}/${path.split('/').slice(0, -1).join('/')}`, { recursive: true })
    writeFileSync(`${root}/${path}`, text)
  }
  put('good/template.yaml', 'title: Good one\nsummary: A test\n')
  put('good/README.md', '# About\n\n<script>alert(1)</script>\n\n![far](https://example.com/x.png) [bad](javascript:alert(1)) **strong**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n')
  put('good/1/compose.yaml', 'services: {web: {image: busybox, command: [sleep, "1000"], depends_on: [db]}, db: {image: busybox, command: [sleep, "1000"]}}\n')
  put('odd/template.yaml', 'titel: Odd\n')
  put('odd/1/compose.yaml', 'services: {}\n')
  await signIn(page)
  await page.goto(`${url}/console/catalog?tab=sources`)

  await step('one that is not there says so', async () => {
    await page.getByRole('button', { name: 'Add a catalog' }).click()
    await page.getByLabel('Name', { exact: true }).fill('nowhere')
    await page.getByRole('button', { name: 'directory' }).click()
    await page.getByLabel('Path on the node').fill('/no/such/directory')
    await usable(page, 'add a catalog')
    await picture(page, 'add-catalog')
    await page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByText(/no\/such\/directory/).first().waitFor(LONG)
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Actions for nowhere' }).click()
    await page.getByRole('menuitem', { name: 'Remove' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByRole('button', { name: 'Actions for nowhere' }).waitFor({ state: 'detached' })
  })

  await step('one with a broken template lists its fault, and the others', async () => {
    await page.getByRole('button', { name: 'Add a catalog' }).click()
    await page.getByLabel('Name', { exact: true }).fill('mine')
    await page.getByRole('button', { name: 'directory' }).click()
    await page.getByLabel('Path on the node').fill(root)
    await page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click()
    await page.getByText('mine/odd').waitFor(LONG)
    await page.getByText(/titel/).first().waitFor()
    await usable(page, 'sources')
    await picture(page, 'sources')
  })

  await step('a README is text, whatever is in it', async () => {
    await page.getByRole('tab', { name: 'Templates' }).click()
    await page.getByRole('link', { name: /Good one/ }).click()
    await page.locator('.prose strong').waitFor()
    const found = await page.locator('.prose').evaluate((it) => [it.querySelectorAll('script, img, a').length, it.querySelectorAll('td').length])
    assert.deepEqual(found, [0, 2])
    await usable(page, 'readme')
    await page.goBack()
  })

  await step('it is read again when asked', async () => {
    await page.goto(`${url}/console/catalog?tab=sources`)
    put('odd/template.yaml', 'title: Odd no more\n')
    put('odd/1/compose.yaml', 'services: {web: {image: busybox}}\n')
    await page.getByRole('button', { name: 'Actions for mine' }).click()
    await page.getByRole('menuitem', { name: 'Read it again' }).click()
    await page.getByText('mine/odd').waitFor({ ...LONG, state: 'detached' })
  })

  await step('a service that waits for another stands before it', async () => {
    hull('catalog', 'install', 'mine/good', '--name', 'pair')
    await page.goto(`${url}/console/apps/default/pair`)
    await page.getByRole('link', { name: /^web .*waits for db/ }).waitFor(LONG)
    await head(page, 'ready').waitFor(LONG)
    await usable(page, 'graph')
    await picture(page, 'graph')
    await page.goto(`${url}/console/networks`)
    await page.getByRole('button', { name: 'Map' }).click()
    await page.getByRole('link', { name: /^pair-web-1 .*on network/ }).waitFor()
    await usable(page, 'map')
    await picture(page, 'map')
    for (const path of ['apps/default/pair', 'apps', 'networks', 'catalog', 'catalog?tab=sources', 'catalog/mine/good']) {
      await page.setViewportSize({ width: 375, height: 720 })
      await page.goto(`${url}/console/${path}`)
      await page.locator('main h1').first().waitFor()
      await fits(page, `telephone ${path}`)
      await picture(page, `telephone-${path.replace(/\W+/g, '-')}`)
    }
    await page.setViewportSize({ width: 1280, height: 800 })
    hull('app', 'down', 'pair')
  })

  await step('it goes, and its templates with it', async () => {
    await page.goto(`${url}/console/catalog?tab=sources`)
    await page.getByRole('button', { name: 'Actions for mine' }).click()
    await page.getByRole('menuitem', { name: 'Remove' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByRole('button', { name: 'Actions for mine' }).waitFor({ state: 'detached' })
    await page.getByRole('tab', { name: 'Templates' }).click()
    await page.getByRole('link', { name: /Redis/ }).waitFor(LONG)
    await page.getByRole('link', { name: /Good one/ }).waitFor({ ...LONG, state: 'detached' })
  })

  assert.deepEqual(faults, [])
})
