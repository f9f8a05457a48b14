// A graph of boxes and the lines between them. What can be opened is a link, reached by the keyboard in reading order;
// what the lines say is in the name of the box that they begin at, for those who don't see them.

import { useId, type ReactNode } from 'react'
import { place, type Box, type Edge } from './graph-layout'

export interface GraphBox extends Box {
  title: string
  about?: string
  tone?: 'good' | 'warn' | 'bad' | 'busy' | 'none'
  /** Makes a link of it. `name` is what it is called, with all that its lines say. */
  open?: (name: string, inside: ReactNode) => ReactNode
}

export interface GraphEdge extends Edge {
  /** What it says between the names of the two: `waits for`. */
  says: string
  dashed?: boolean
}

const [WIDTH, HEIGHT, ACROSS, DOWN, MARGIN] = [190, 54, 72, 16, 6]

export function Graph({ label, boxes, edges }: { label: string; boxes: readonly GraphBox[]; edges: readonly GraphEdge[] }) {
  const arrow = useId()
  const inner = useId()
  const { places, columns, rows } = place(boxes, edges)
  const corner = (id: string) => {
    const at = places.get(id)
    return at && { x: MARGIN + at.column * (WIDTH + ACROSS), y: MARGIN + at.row * (HEIGHT + DOWN) }
  }
  const titles = new Map(boxes.map((it) => [it.id, it.title]))
  const width = 2 * MARGIN + columns * (WIDTH + ACROSS) - ACROSS
  // Lines to a column further off pass below the boxes between.
  const height = 2 * MARGIN + rows * (HEIGHT + DOWN) - (columns > 2 ? 0 : DOWN)
  return (
    <div className="diagram">
      <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height} role="group" aria-label={label}>
        <defs>
          <marker id={arrow} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
            <path d="M0 0 L8 4 L0 8 z" />
          </marker>
          <clipPath id={inner}>
            <rect x={4} width={WIDTH - 10} height={HEIGHT} />
          </clipPath>
        </defs>
        {edges.map((it) => {
          const [from, to] = [corner(it.from), corner(it.to)]
          if (!from || !to) return null
          return <path key={`${it.from} ${it.to} ${it.says}`} className={it.dashed ? 'edge dashed' : 'edge'} d={line(from, to)} markerEnd={it.dashed ? undefined : `url(#${arrow})`} />
        })}
        {boxes.map((it) => {
          const at = corner(it.id)
          if (!at) return null
          const inside = (
            <g className={`box ${it.tone ?? 'none'} ${it.last ? 'last' : ''}`} transform={`translate(${at.x} ${at.y})`}>
              <rect width={WIDTH} height={HEIGHT} rx={8} />
              {/* One text, so that what is read is what is seen. */}
              <text clipPath={`url(#${inner})`}>
                <tspan x={14} y={it.about ? 23 : 33} className="what">
                  {it.title}
                </tspan>
                {it.about && (
                  <>
                    {' '}
                    <tspan x={14} y={42} className="about">
                      {it.about}
                    </tspan>
                  </>
                )}
              </text>
            </g>
          )
          const says = edges.filter((edge) => edge.from === it.id && titles.has(edge.to)).map((edge) => `${edge.says} ${titles.get(edge.to)}`)
          const name = [[it.title, it.about].filter(Boolean).join(' '), ...says].join(', ')
          return it.open ? <g key={it.id}>{it.open(name, inside)}</g> : <g key={it.id} role="img" aria-label={name}>{inside}</g>
        })}
      </svg>
    </div>
  )
}

interface Corner {
  x: number
  y: number
}

/** From the right side of one to the left of the other; below what lies between, around the outside where it goes back. */
function line(from: Corner, to: Corner): string {
  const [x1, y1, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.y + HEIGHT / 2]
  const below = to.x - from.x > WIDTH + ACROSS ? HEIGHT : 0
  if (below) return `M${x1} ${y1} C${x1 + ACROSS} ${y1 + below} ${to.x - ACROSS} ${y2 + below} ${to.x} ${y2}`
  if (to.x > from.x) return `M${x1} ${y1} C${x1 + ACROSS / 2} ${y1} ${to.x - ACROSS / 2} ${y2} ${to.x} ${y2}`
  const out = Math.max(from.x, to.x) + WIDTH + ACROSS / 2
  return `M${x1} ${y1} C${out} ${y1} ${out} ${y2} ${to.x + WIDTH} ${y2}`
}
