import { expect, test } from 'vitest'
import { isTangled } from './tangled'

test.each([
  ['a README', '# Title\n\nSome *words* with [a link](https://a) and `code`.\n\n- one\n  - two\n\n> said\n', false],
  ['a table', `| a | b |\n|---|---|\n${'| `x` | [y](z) |\n'.repeat(40)}`, false],
  ['many paragraphs', '*a* **b**\n\n'.repeat(800), false],
  ['marks alone', '*_'.repeat(400), true],
  ['links in links', '[a]('.repeat(500), true],
  ['quotes in quotes', `${'> '.repeat(20)}a`, true],
  ['lists in lists', Array.from({ length: 60 }, (_, i) => `${' '.repeat(i * 2)}- a`).join('\n'), true],
  ['a book', 'word '.repeat(5000), true],
])('%s', (_, text, tangled) => {
  expect(isTangled(text)).toBe(tangled)
})

test('finding out is quick', () => {
  const begin = performance.now()
  for (const text of ['> '.repeat(10_000), ' '.repeat(20_000), '\n '.repeat(10_000), '1. '.repeat(6000), '-'.repeat(20_000)]) isTangled(text)
  expect(performance.now() - begin).toBeLessThan(2000)
})
