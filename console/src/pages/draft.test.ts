import { expect, test } from 'vitest'
import { check, commandLine, draft, EMPTY, quoted, readMount, readPort, words, type Form } from './draft'

test('a command is parted as a shell does', () => {
  const cases: [string, string[]][] = [
    ['', []],
    ['sleep 10', ['sleep', '10']],
    [`sh -c 'echo "a b"; sleep 1'`, ['sh', '-c', 'echo "a b"; sleep 1']],
    ['a\\ b "c\\"d" \'\'', ['a b', 'c"d', '']],
    ['$HOME;ls', ['$HOME;ls']],
  ]
  for (const [text, expected] of cases) expect(words(text)).toEqual(expected)
})

test('what is written can be pasted into a shell', () => {
  for (const word of ['a', 'a b', "it's", '$(rm)', '', 'a;b']) expect(words(quoted(word))).toEqual([word])
})

test('ports and mounts', () => {
  expect(readPort('8080:80')).toMatchObject({ host: 8080, target: 80, protocol: 'tcp' })
  expect(readPort('53/udp')).toMatchObject({ host: null, target: 53, protocol: 'udp' })
  for (const wrong of ['', 'x', '80:99999', '70000', '1:2:3', '80/sctp']) expect(readPort(wrong), wrong).toBeUndefined()
  expect(readMount('data:/d:ro')).toEqual({ type: 'volume', name: 'data', target: '/d', readOnly: true })
  expect(readMount('/srv:/d')).toMatchObject({ type: 'bind', source: '/srv' })
  for (const wrong of ['data', 'data:d', 'data:/d:rx', 'a:/b:ro:c']) expect(readMount(wrong), wrong).toBeUndefined()
})

const FORM: Form = { ...EMPTY, image: 'nginx', name: 'web', ports: '8080:80', env: 'A=b c', memory: '64m', restart: 'always' }

test('one form, two writings of it', () => {
  expect(commandLine({ ...FORM, ports: '' }, false, 'default')).toBe("hull run -d --name web -e 'A=b c' --memory 64m --restart always nginx")
  expect(draft(FORM, false)).toEqual({
    meta: { name: 'web' },
    spec: {
      containers: [{ name: 'main', image: 'nginx', env: ['A=b c'], resources: { memory: '64m' } }],
      ports: [{ host: 8080, target: 80, protocol: 'tcp' }],
      restart: 'always',
    },
  })
  const service = { ...FORM, kind: 'service' as const, replicas: '3' }
  expect(commandLine(service, false, 'shop')).toContain('hull service create \\\n    --project shop')
  expect(draft(service, false)).toMatchObject({ spec: { mode: { replicated: { replicas: 3 } } } })
})

test('what cannot be is said at its field', () => {
  expect(check(FORM)).toEqual({})
  expect(check({ ...FORM, cpus: 'two', memory: '1x', env: 'A' })).toEqual({ cpus: 'two', memory: '1x', env: 'A' })
})
