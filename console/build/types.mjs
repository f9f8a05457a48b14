// Types of the API's document for the console. An answer leaves out a text, a list or a map that is empty, though the document
// gives it a default: there the compiler asks for what to do without. Other fields with a default are as good as there.

import { readFileSync, writeFileSync } from 'node:fs'
import openapi, { astToString } from 'openapi-typescript'

/** What names a thing is never empty. */
const NAMES = new Set(['name', 'key', 'variable', 'version', 'catalog', 'template', 'path'])

const root = new URL('../', import.meta.url)
const isEmpty = (value) => value === '' || (value !== null && typeof value === 'object' && Object.keys(value).length === 0)

function withoutEmpty(node, name) {
  if (Array.isArray(node)) return node.map((it) => withoutEmpty(it))
  if (node === null || typeof node !== 'object') return node
  const kept = Object.entries(node).filter(([key, value]) => !(key === 'default' && isEmpty(value) && !NAMES.has(name)))
  return Object.fromEntries(kept.map(([key, value]) => [key, key === 'default' ? value : withoutEmpty(value, key)]))
}

const document = JSON.parse(readFileSync(new URL('../openapi/hull.json', root), 'utf8'))
writeFileSync(new URL('src/api/schema.ts', root), astToString(await openapi(withoutEmpty(document))))
