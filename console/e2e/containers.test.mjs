// A day with the console: sign in, run, watch, read, enter, scale, change, remove.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fits, hull, open, picture, signIn, usable } from './browser.mjs'

test('containers are run, seen, read, entered, scaled and removed', async (t) => {
  const { browser, page, faults } = await open()
  t.after(() => browser.close())

  await t.test('nobody gets in without a token', async () => {
    await page.goto(`${process.env.HULL_URL}/console/instances`)
    await page.getByLabel('Token').fill('hull_nonsense')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByText('the token is not known').waitFor()
    await usable(page, 'sign in')
    await picture(page, 'sign-in')
  })

  await t.test('a token signs in, and the cookie is not for scripts', async () => {
    await signIn(page)
    assert.equal(await page.evaluate(() => document.cookie), '')
    // Another port of this host is sent the cookie, too, and has nothing else.
    const status = async (path) => (await page.context().request.get(`${process.env.HULL_URL}${path}`)).status()
    assert.deepEqual([await status('/v1/nodes'), await status('/v1/session')], [403, 403])
  })

  await t.test('an empty list says how to begin', async () => {
    await page.getByRole('link', { name: 'Instances' }).click()
    await page.getByText('Nothing runs here yet').waitFor()
    await page.getByRole('link', { name: 'Create an instance' }).click()
  })

  await t.test('the form shows the command line and makes the container', async () => {
    await page.getByLabel('Image', { exact: true }).fill('busybox')
    await page.getByLabel('Name', { exact: true }).fill('talker')
    await page.getByLabel('Command', { exact: true }).fill("sh -c 'i=0; while true; do i=$((i+1)); echo line $i; sleep 0.5; done'")
    await page.getByLabel('Environment').fill('GREETING=hello')
    const line = await page.getByLabel('On the command line').textContent()
    assert.match(line, /hull run -d/)
    assert.match(line, /--name talker/)
    await picture(page, 'create')
    await page.getByRole('button', { name: 'Create and start' }).click()
    await page.getByRole('heading', { name: 'talker' }).waitFor()
    await page.locator('.page-head').getByText('running').waitFor({ timeout: 60_000 })
  })

  await t.test('its log follows and can be searched', async () => {
    await page.getByRole('tab', { name: 'Logs' }).click()
    const log = page.getByRole('log')
    await log.getByText('line 3', { exact: true }).waitFor()
    await page.getByLabel('Search the log').fill('line 2')
    await log.locator('mark').first().waitFor()
    await page.getByLabel('Search the log').fill('')
    await picture(page, 'logs')
  })

  await t.test('a terminal runs a shell in it', async () => {
    await page.getByRole('tab', { name: 'Terminal' }).click()
    await page.locator('.xterm-screen').waitFor()
    await page.locator('.xterm-helper-textarea').focus()
    await page.keyboard.type('echo $GREETING from $((6*7)); stty size\n')
    await page.locator('.xterm').getByText('hello from 42').first().waitFor()
    await picture(page, 'terminal')
    await page.keyboard.type('exit\n')
    await page.getByText('It ended with 0.').waitFor()
  })

  await t.test('its graphs move', async () => {
    await page.getByRole('tab', { name: 'Graphs' }).click()
    await page.locator('.graph polyline').first().waitFor()
    await usable(page, 'graphs')
    await picture(page, 'graphs')
  })

  await t.test('what others do shows at once', async () => {
    await page.getByRole('link', { name: 'Instances', exact: false }).first().click()
    await page.getByRole('row', { name: /talker/ }).waitFor()
    hull('run', '-d', '--name', 'other', 'busybox', 'sleep', '1000')
    await page.getByRole('row', { name: /other/ }).getByText('running').waitFor()
    await page.getByLabel('Name, image, label, address').fill('oth')
    await page.getByRole('row', { name: /talker/ }).waitFor({ state: 'detached' })
    assert.match(page.url(), /q=oth/)
    await page.reload()
    await page.getByRole('row', { name: /other/ }).waitFor()
    assert.equal(await page.getByRole('row', { name: /talker/ }).count(), 0)
    await page.getByLabel('Name, image, label, address').fill('')
    await page.getByRole('row', { name: /talker/ }).waitFor()
    await usable(page, 'instances')
    await picture(page, 'instances')
  })

  await t.test('several are stopped together', async () => {
    await page.getByLabel('Select all').check()
    await page.getByRole('toolbar').getByRole('button', { name: 'Stop' }).click()
    await page.getByRole('row', { name: /other/ }).getByText(/exited/).waitFor()
    await page.getByRole('row', { name: /talker/ }).getByText(/exited/).waitFor()
    await page.getByRole('toolbar').getByRole('button', { name: 'Remove' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByText('Nothing runs here yet').waitFor()
  })

  await t.test('a service is made, scaled and shows its slots', async () => {
    await page.getByRole('link', { name: 'Services' }).click()
    await page.getByRole('link', { name: 'Create a service' }).click()
    await page.getByLabel('Image', { exact: true }).fill('busybox')
    await page.getByLabel('Name', { exact: true }).fill('web')
    await page.getByLabel('Command', { exact: true }).fill('sleep 1000')
    await page.getByLabel('Replicas', { exact: true }).fill('1')
    await page.getByRole('button', { name: 'Create the service' }).click()
    await page.getByRole('heading', { name: 'web' }).waitFor()
    await page.locator('.slots .good').first().waitFor()
    await page.getByRole('button', { name: 'One more' }).click()
    await page.getByRole('button', { name: '2 replicas' }).waitFor()
    await page.waitForFunction(() => document.querySelectorAll('.slots .good').length === 2)
    await usable(page, 'service')
    await picture(page, 'service')
    assert.match(hull('service', 'ls'), /web/)
  })

  await t.test('a change as text is checked before it is made', async () => {
    await page.getByRole('tab', { name: 'YAML' }).click()
    await page.getByRole('button', { name: 'Edit' }).click()
    const text = page.getByLabel('What is asked of web')
    const before = await text.inputValue()
    await text.fill(before.replace('replicas: 2', 'replicas: many'))
    await page.getByRole('alert').first().waitFor()
    await text.fill(before.replace('replicas: 2', 'replicas: 3'))
    await page.getByText('The server would take this.').waitFor()
    await picture(page, 'yaml')
    await page.getByRole('button', { name: 'Apply' }).click()
    await page.getByRole('button', { name: '3 replicas' }).waitFor()
  })

  const signOut = async () => {
    await page.getByRole('button', { name: /Signed in as/ }).click()
    await page.getByRole('menuitem', { name: 'Sign out' }).click()
  }

  await t.test('signing out holds, and is told, when hull does not hear of it', async () => {
    await page.route('**/v1/session', (route) => (route.request().method() === 'DELETE' ? route.abort() : route.continue()))
    await signOut()
    await page.getByText('hull could not be told').waitFor()
    await usable(page, 'signed out here alone')
    await page.reload()
    await page.getByRole('heading', { name: 'Sign in to Monohull' }).waitFor()
    await page.unroute('**/v1/session')
    await signIn(page)
  })

  await t.test('signing out ends it', async () => {
    await signOut()
    await page.getByRole('heading', { name: 'Sign in to Monohull' }).waitFor()
    const status = await page.evaluate(async () => (await fetch('/v1/nodes')).status)
    assert.equal(status, 401)
    await fits(page, 'sign in')
  })

  assert.deepEqual(faults, [])
})
