import { expect, test } from 'vitest'
import { place } from './graph-layout'

const box = (id: string) => ({ id })
const edge = (text: string) => ({ from: text[0], to: text[1] })

test.each([
  ['nothing', [], [], {}],
  ['one after the other', ['a', 'b', 'c'], ['ab', 'bc', 'ac'], { a: [0, 0], b: [1, 0], c: [2, 0] }],
  ['side by side', ['a', 'b', 'c'], ['ac', 'bc'], { a: [0, 0], b: [0, 1], c: [1, 0] }],
  ['a circle', ['a', 'b'], ['ab', 'ba'], { a: [1, 0], b: [0, 0] }],
  ['itself, and one that is not there', ['a'], ['aa', 'az', 'za'], { a: [0, 0] }],
] as const)('%s', (_, boxes, edges, expected) => {
  const { places } = place(boxes.map(box), edges.map(edge))
  expect(Object.fromEntries([...places].map(([id, it]) => [id, [it.column, it.row]]))).toEqual(expected)
})

test('what belongs at the end is there, and the size is told', () => {
  const { places, columns, rows } = place([box('a'), box('b'), { id: 'n', last: true }], [edge('ab'), edge('an')])
  expect(places.get('n')).toEqual({ column: 2, row: 0 })
  expect([columns, rows]).toEqual([3, 1])
})

test('a box keeps right of others that do not lead to it', () => {
  expect(place([box('a'), { id: 'b', least: 1 }], []).places.get('b')).toEqual({ column: 1, row: 0 })
})

test('a long chain is no deep trouble', () => {
  const ids = Array.from({ length: 2000 }, (_, i) => String(i))
  const { columns } = place(ids.map(box), ids.slice(1).map((id, i) => ({ from: ids[i], to: id })))
  expect(columns).toBe(2000)
})
