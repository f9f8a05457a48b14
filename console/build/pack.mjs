// After the build: compresses what hull carries, and fails when the first page has become too heavy.

import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const dist = new URL('../dist/', import.meta.url).pathname
/** Most bytes, compressed, that a browser loads before it shows the first page. */
const MOST = 500_000

/** What the entry needs before anything is shown: itself, what it imports, and their styles. */
function firstPage(manifest) {
  const files = new Set()
  const take = (key) => {
    const chunk = manifest[key]
    if (!chunk || files.has(chunk.file)) return
    files.add(chunk.file)
    for (const style of chunk.css ?? []) files.add(style)
    for (const next of chunk.imports ?? []) take(next)
  }
  Object.keys(manifest).filter((key) => manifest[key].isEntry).forEach(take)
  return files
}

function filesBelow(dir) {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name)
    return statSync(path).isDirectory() ? filesBelow(path) : [path]
  })
}

const manifestFile = join(dist, 'manifest.json')
const first = firstPage(JSON.parse(readFileSync(manifestFile, 'utf8')))
rmSync(manifestFile)
let [weight, all] = [0, 0]
for (const path of filesBelow(dist)) {
  const name = path.slice(dist.length)
  if (name === 'index.html' || name.startsWith('.')) continue
  const packed = gzipSync(readFileSync(path), { level: 9 })
  writeFileSync(path, packed)
  all += packed.length
  if (first.has(name)) weight += packed.length
}
const kilobytes = (bytes) => `${Math.ceil(bytes / 1000)} kB`
console.log(`first page ${kilobytes(weight)}, everything ${kilobytes(all)}, compressed`)
if (weight > MOST) {
  console.error(`the first page is over ${kilobytes(MOST)}: load what it does not show at once lazily`)
  process.exit(1)
}
