// A tab that is left open: the daemon goes and comes back, and later comes back as another version.

import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { hull, open, picture, signIn } from './browser.mjs'

test('a tab reconnects by itself', async (t) => {
  const { browser, page } = await open()
  t.after(() => browser.close())
  await signIn(page)
  await page.getByRole('link', { name: 'Instances' }).click()
  hull('run', '-d', '--name', 'before', 'busybox', 'sleep', '1000')
  await page.getByRole('row', { name: /before/ }).getByText('running').waitFor()

  await t.test('over a restart of the daemon, still signed in', async () => {
    const port = new URL(process.env.HULL_URL).port
    hull('down')
    await page.getByText('hull does not answer.').waitFor()
    await picture(page, 'away')
    keepPort(port)
    hull('up')
    await page.getByText('hull does not answer.').waitFor({ state: 'detached', timeout: 40_000 })
    hull('run', '-d', '--name', 'after', 'busybox', 'sleep', '1000')
    await page.getByRole('row', { name: /after/ }).getByText('running').waitFor()
  })

  await t.test('over an upgrade it says so, and loads the new one', async () => {
    await page.route('**/console/', (route) => route.fulfill({ contentType: 'text/html', body: '<script type="module" src="/console/assets/index-another.js"></script>' }), { times: 1 })
    hull('down')
    await page.getByText('hull does not answer.').waitFor()
    hull('up')
    await page.getByText('hull was upgraded.').waitFor({ timeout: 40_000 })
    await picture(page, 'upgraded')
    await page.getByRole('button', { name: 'Load it anew' }).click()
    await page.getByRole('row', { name: /after/ }).waitFor()
  })
})

/** A node of a test takes any free port at its start: it has to come back where the tab looks. */
function keepPort(port) {
  const file = `${process.env.HULL_ROOT}/etc/hull/hull.toml`
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replace('127.0.0.1:0', `127.0.0.1:${port}`))
}
