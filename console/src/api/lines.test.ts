import { expect, test } from 'vitest'
import { readLines, Splitter } from './lines'

test('lines are put together again', () => {
  const splitter = new Splitter()
  expect(['{"a":', '1}\n{"b":2}\n\n{"c"', ':3}\n'].flatMap((piece) => splitter.take(piece))).toEqual(['{"a":1}', '{"b":2}', '{"c":3}'])
})

test('a failure in the middle is thrown, with what to do', async () => {
  const body = '{"type":"added"}\n{"error":{"detail":"too slow","next":"list again","status":503}}\n'
  await expect(readLines(new Response(body), () => {})).rejects.toMatchObject({ message: 'too slow', next: 'list again', status: 503 })
})
