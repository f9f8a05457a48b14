// The merge patch (RFC 7396) that makes one document of another.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

const isObject = (value: Json | undefined): value is { [key: string]: Json } => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Undefined when they are the same. */
export function mergePatch(from: Json, to: Json): Json | undefined {
  if (!isObject(from) || !isObject(to)) return JSON.stringify(from) === JSON.stringify(to) ? undefined : to
  const patch: { [key: string]: Json } = {}
  for (const key of Object.keys(from)) if (!(key in to)) patch[key] = null
  for (const key of Object.keys(to)) {
    if (!(key in from)) {
      patch[key] = to[key]
      continue
    }
    const below = mergePatch(from[key], to[key])
    if (below !== undefined) patch[key] = below
  }
  return Object.keys(patch).length === 0 ? undefined : patch
}

/** Paths at which two documents differ, with what is at them. */
export function differences(from: Json | undefined, to: Json | undefined, path = ''): { path: string; from?: Json; to?: Json }[] {
  if (isObject(from) && isObject(to)) {
    const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])].sort()
    return keys.flatMap((key) => differences(from[key], to[key], path ? `${path}.${key}` : key))
  }
  if (Array.isArray(from) && Array.isArray(to)) {
    const count = Math.max(from.length, to.length)
    return Array.from({ length: count }, (_, i) => differences(from[i], to[i], `${path}[${i}]`)).flat()
  }
  return JSON.stringify(from) === JSON.stringify(to) ? [] : [{ path, from, to }]
}

/** `spec.containers[0].image` as its steps. */
export function steps(path: string): (string | number)[] {
  return [...path.matchAll(/([^.[\]]+)|\[(\d+)\]/g)].map((it) => (it[2] === undefined ? it[1] : Number(it[2])))
}
