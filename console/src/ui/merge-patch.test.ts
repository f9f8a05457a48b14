import { expect, test } from 'vitest'
import { differences, mergePatch, steps, type Json } from './merge-patch'

test('a patch says what differs and nothing else', () => {
  const cases: [Json, Json, Json | undefined][] = [
    [{ a: 1 }, { a: 1 }, undefined],
    [{ a: 1, b: 2 }, { a: 1 }, { b: null }],
    [{ a: { b: 1, c: 2 } }, { a: { b: 1, c: 3 } }, { a: { c: 3 } }],
    [{ a: [1, 2] }, { a: [1] }, { a: [1] }],
    [{}, { a: { b: null } }, { a: { b: null } }],
    [{ a: 'x' }, { a: { b: 1 } }, { a: { b: 1 } }],
  ]
  for (const [from, to, patch] of cases) expect(mergePatch(from, to)).toEqual(patch)
})

test('differences are told by their paths', () => {
  expect(differences({ a: [{ b: 1 }], c: 2 }, { a: [{ b: 3 }] })).toEqual([
    { path: 'a[0].b', from: 1, to: 3 },
    { path: 'c', from: 2, to: undefined },
  ])
})

test('the path of a field leads to its place in the text', () => {
  expect(steps('spec.containers[0].image')).toEqual(['spec', 'containers', 0, 'image'])
})
