// People: made by an admin, signed in with a password, bounded by their roles; and what they did is written down.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fits, hull, open, picture, signIn, url, usable } from './browser.mjs'

async function signInAs(page, name, password) {
  await page.goto(`${url}/console/`)
  await page.getByRole('button', { name: 'Name and password' }).click()
  await page.getByLabel('Name', { exact: true }).fill(name)
  await page.getByLabel('Password', { exact: true }).fill(password)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
}

test('users are made, sign in, and may what their roles say', async (t) => {
  hull('project', 'create', 'shop')
  hull('run', '-d', '--name', 'vault', 'busybox', 'sleep', '1000')
  const admin = await open()
  const ann = await open()
  t.after(() => Promise.all([admin.browser.close(), ann.browser.close()]))

  await t.test('an admin makes a user with a role in one project', async () => {
    const { page } = admin
    await signIn(page)
    await page.getByRole('link', { name: 'Users and tokens' }).click()
    await page.getByRole('button', { name: 'Create a user' }).click()
    await page.getByLabel('Name', { exact: true }).fill('ann')
    await page.getByLabel('Role', { exact: true }).selectOption('editor')
    await page.getByLabel('Where').selectOption('shop')
    await page.getByRole('button', { name: 'Give' }).click()
    await page.getByLabel('Password', { exact: true }).fill('short')
    await page.getByText('At least 8 characters.').waitFor()
    await page.getByLabel('Password', { exact: true }).fill('correct horse')
    assert.equal(await page.getByLabel('On the command line').last().textContent(), 'hull user create --role editor@shop ann')
    await usable(page, 'a user is made')
    await picture(page, 'user-create')
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    const row = page.getByRole('row', { name: /ann/ })
    await row.getByText('editor@shop').waitFor()
    await row.getByText('by password').waitFor()
    await fits(page, 'users')
    await usable(page, 'users')
    await picture(page, 'users')
  })

  await t.test('a wrong password gets nobody in', async () => {
    await signInAs(ann.page, 'ann', 'wrong horses')
    await ann.page.getByText('the name or the password is not right').waitFor()
    await usable(ann.page, 'sign in with a password')
    await picture(ann.page, 'sign-in-password')
  })

  await t.test('the right one does, and shows what the role may read', async () => {
    const { page } = ann
    await signInAs(page, 'ann', 'correct horse')
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    await page.getByRole('link', { name: 'Instances' }).click()
    await page.getByText('Nothing runs here yet').waitFor()
    await page.getByRole('link', { name: 'Users and tokens' }).click()
    await page.getByRole('heading', { name: 'Users and tokens' }).waitFor()
    assert.equal(await page.getByRole('button', { name: 'Create a user' }).count(), 0)
    await page.goto(`${url}/console/activity?tab=audit`)
    await page.getByRole('heading', { name: 'Activity' }).waitFor()
    assert.equal(await page.getByRole('tab', { name: 'Audit log' }).count(), 0)
  })

  await t.test('a token of hers is worth what she may', async () => {
    const { page } = ann
    await page.goto(`${url}/console/tokens`)
    await page.getByRole('button', { name: 'Create a token' }).click()
    await page.getByLabel('Name', { exact: true }).fill('laptop')
    await page.getByRole('button', { name: 'Create', exact: true }).click()
    await page.getByText(/^hull_/).first().waitFor()
    const shown = JSON.parse(hull('token', 'show', 'laptop', '-o', 'json'))
    assert.equal(shown.spec.user, 'ann')
    await page.keyboard.press('Escape')
    await page.getByRole('row', { name: /laptop/ }).waitFor()
    assert.equal(await page.getByRole('row', { name: /admin/ }).count(), 0, 'tokens of others are shown')
  })

  await t.test('she changes her password, and is signed out', async () => {
    const { page } = ann
    await page.getByRole('button', { name: 'Signed in as ann' }).click()
    await page.getByRole('menuitem', { name: 'Change your password' }).click()
    await page.getByLabel('Present password').fill('wrong horses')
    await page.getByLabel('New password').fill('battery staple')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('the present password is not right').waitFor()
    await usable(page, 'a password is changed')
    await page.getByLabel('Present password').fill('correct horse')
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('heading', { name: 'Sign in to Monohull' }).waitFor()
    await signInAs(page, 'ann', 'battery staple')
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
  })

  await t.test('a project has a quota, and what goes beyond waits', async () => {
    const { page } = admin
    const more = (name) => hull('--project', 'shop', 'run', '-d', '--memory', '16m', '--name', name, 'busybox', 'sleep', '1000')
    await page.goto(`${url}/console/projects`)
    const row = page.getByRole('row', { name: /shop/ })
    await row.getByText('no bound').waitFor()
    await row.getByRole('button', { name: 'Actions for shop' }).click()
    await page.getByRole('menuitem', { name: 'Change the quota' }).click()
    await page.getByLabel('Instances').fill('1')
    await page.getByLabel('Memory').fill('64m')
    assert.equal(await page.getByLabel('On the command line').last().textContent(), 'hull project update shop --quota instances=1,memory=64m')
    await usable(page, 'a quota is changed')
    await picture(page, 'quota')
    await page.getByRole('button', { name: 'Save' }).click()
    await row.getByText('Instances: 0 of 1').waitFor()
    more('first')
    await row.getByText('Instances: 1 of 1').waitFor()
    await row.getByText('Memory: 16 MiB of 64 MiB').waitFor()
    assert.throws(() => more('second'), /quota of 1 for instances/)
    await page.goto(`${url}/console/instances/shop/second`)
    await page.getByText('project "shop" has a quota of 1 for instances').first().waitFor()
    await page.goto(`${url}/console/projects`)
    await row.getByRole('button', { name: 'Actions for shop' }).click()
    await page.getByRole('menuitem', { name: 'Change the quota' }).click()
    await page.getByLabel('Instances').fill('')
    await page.getByRole('button', { name: 'Save' }).click()
    await row.getByText('Memory: 32 MiB of 64 MiB').waitFor()
    await fits(page, 'projects')
    await usable(page, 'projects')
    await picture(page, 'projects')
    hull('--project', 'shop', 'rm', '-f', 'first', 'second')
  })

  await t.test('all of it is in the audit log', async () => {
    const { page } = admin
    await page.goto(`${url}/console/activity?tab=audit`)
    await page.getByText('POST /v1/session/password').first().waitFor()
    await page.getByText('the name or the password is not right').first().waitFor()
    await page.getByText('PUT /v1/users/ann/password').first().waitFor()
    await fits(page, 'audit')
    await usable(page, 'audit')
    await picture(page, 'audit')
    const log = JSON.parse(hull('audit', '-o', 'json'))
    assert.ok(log.some((it) => it.by === 'ann' && it.path === '/v1/users/ann/password' && it.status === 200))
    assert.ok(!JSON.stringify(log).includes('horse'), 'a password is in the log')
  })

  await t.test('who is disabled is signed out', async () => {
    hull('user', 'update', '--disable', 'ann')
    await ann.page.goto(`${url}/console/nodes`)
    await ann.page.getByRole('heading', { name: 'Sign in to Monohull' }).waitFor()
  })

  assert.deepEqual([...admin.faults, ...ann.faults], [])
})
