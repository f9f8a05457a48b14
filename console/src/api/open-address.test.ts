import { expect, test } from 'vitest'
import { openAddress } from './open-address'
import type { Question } from './templates'

const port = { variable: 'port', default: '8080' } as Question

test.each([
  ['http://HOST:${port}/', {}, 'node', 'http://node:8080/'],
  ['http://HOST:${port}/x', { port: '81' }, 'fd00::1', 'http://[fd00::1]:81/x'],
  ['', {}, 'node', undefined],
  ['javascript:alert(1)', {}, 'node', undefined],
  ['http://HOST:${port}/', { port: 'no' }, 'node', undefined],
])('%s with %o', (open, answers, host, expected) => {
  expect(openAddress({ open, questions: [port] }, answers as Record<string, string>, host)).toBe(expected)
})
