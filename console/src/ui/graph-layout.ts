// Where the boxes of a graph are, and the lines between them: columns from left to right, each box left of what it
// leads to.

export interface Box {
  id: string
  /** In the last column, whatever leads to it. */
  last?: boolean
  /** In this column or a later one. */
  least?: number
}

export interface Edge {
  from: string
  to: string
}

export interface Place {
  column: number
  row: number
}

/** A box is a column after the furthest of those that lead to it. Circles are cut where they close. */
export function place(boxes: readonly Box[], edges: readonly Edge[]): { places: ReadonlyMap<string, Place>; columns: number; rows: number } {
  const known = new Set(boxes.map((it) => it.id))
  const least = new Map(boxes.map((it) => [it.id, it.least ?? 0]))
  const into = new Map<string, string[]>()
  for (const { from, to } of edges) if (known.has(from) && known.has(to) && from !== to) into.set(to, [...(into.get(to) ?? []), from])
  const depths = new Map<string, number>()
  const open = new Set<string>()
  const depth = (id: string): number => {
    const found = depths.get(id)
    if (found !== undefined) return found
    if (open.has(id)) return -1
    open.add(id)
    const deepest = Math.max(least.get(id) ?? 0, ...(into.get(id) ?? []).map((it) => depth(it) + 1))
    open.delete(id)
    depths.set(id, deepest)
    return deepest
  }
  const usual = boxes.filter((it) => !it.last)
  const end = Math.max(-1, ...usual.map((it) => depth(it.id))) + 1
  const heights: number[] = []
  const places = new Map<string, Place>()
  for (const { id, last } of boxes) {
    const column = last ? end : depth(id)
    const row = heights[column] ?? 0
    heights[column] = row + 1
    places.set(id, { column, row })
  }
  return { places, columns: heights.length, rows: Math.max(0, ...heights.filter(Boolean)) }
}
