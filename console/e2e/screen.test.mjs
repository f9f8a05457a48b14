// A real machine: its screen, and its serial line as a terminal.

import { test } from 'node:test'
import { hull, open, picture, signIn, url, usable } from './browser.mjs'

test('the screen of a machine shows what it shows', async (t) => {
  hull('run', '-d', '--name', 'tiny', '--memory', '256m', 'hull-tiny')
  const { browser, page } = await open()
  t.after(() => browser.close())
  await signIn(page)
  await page.goto(`${url}/console/instances?type=machine`)
  await page.getByRole('row', { name: /tiny/ }).getByText('running').waitFor({ timeout: 60_000 })
  await page.getByRole('link', { name: 'machine tiny' }).click()
  await page.getByRole('tab', { name: 'Screen' }).click()
  const canvas = page.locator('.screen canvas')
  await canvas.waitFor()
  await page.waitForFunction(() => {
    const canvas = document.querySelector('.screen canvas')
    const pixels = canvas?.width ? canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data : []
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i] + pixels[i + 1] + pixels[i + 2] > 300) return true
    return false
  }, undefined, { timeout: 90_000 })
  await usable(page, 'screen')
  await picture(page, 'screen')
  await page.getByRole('tab', { name: 'Status' }).click()
  await page.getByText('Accelerator').waitFor()
  await picture(page, 'machine')
  hull('rm', '-f', 'tiny')
})
