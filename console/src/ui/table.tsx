// A table of which only the rows in sight are in the page, so that five thousand scroll as five do. On a
// telephone each row becomes a card.

import { useVirtualizer } from '@tanstack/react-virtual'
import { ArrowDown, ArrowUp } from 'lucide-react'
import { useRef, type ReactNode } from 'react'
import { t } from '../i18n'

export interface Column<T> {
  key: string
  title: string
  /** Width in a CSS grid: `2fr`, `120px`. */
  width: string
  cell: (item: T) => ReactNode
  /** Makes the column one to sort by. */
  sort?: (one: T, two: T) => number
  right?: boolean
  /** First on a card; the other columns follow below. */
  lead?: boolean
  /** At the card's upper end. */
  tail?: boolean
  /** Says on a card what the value is. */
  label?: boolean
}

export interface Sorting {
  key: string
  down: boolean
}

interface TableProps<T> {
  label: string
  items: readonly T[]
  columns: Column<T>[]
  id: (item: T) => string
  sorting?: Sorting
  setSorting?: (sorting: Sorting) => void
  selected?: ReadonlySet<string>
  select?: (ids: ReadonlySet<string>) => void
  name?: (item: T) => string
  fill?: boolean
}

/** Beyond so many rows only those in sight are drawn. */
const FEW = 60

export function sorted<T>(items: readonly T[], columns: Column<T>[], sorting?: Sorting): readonly T[] {
  const by = columns.find((column) => column.key === sorting?.key)?.sort
  if (!by) return items
  const inOrder = [...items].sort(by)
  return sorting?.down ? inOrder.reverse() : inOrder
}

export function Table<T>(props: TableProps<T>) {
  const { label, items, columns, id, selected, select, name } = props
  const scroller = useRef<HTMLDivElement>(null)
  const narrow = window.matchMedia('(max-width: 760px)').matches
  const many = items.length > FEW
  const virtual = useVirtualizer({
    count: items.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => (narrow ? 96 : 45),
    overscan: 12,
    enabled: many,
    getItemKey: (index) => id(items[index]),
  })
  const template = [select ? '20px' : '', ...columns.map((column) => column.width)].join(' ').trim()
  const rows = many ? virtual.getVirtualItems().map((it) => it.index) : items.map((_, index) => index)
  const offset = many ? (virtual.getVirtualItems()[0]?.start ?? 0) : 0
  const row = (index: number) => {
    const item = items[index]
    const key = id(item)
    return (
      <div key={key} role="row" className="tr" style={{ gridTemplateColumns: template }} aria-rowindex={index + 2} aria-selected={selected?.has(key)} data-index={index} ref={many ? virtual.measureElement : undefined}>
        {select && selected && (
          <div role="cell" className="td pick">
            <input
              type="checkbox"
              className="check"
              aria-label={t('Select {name}', { name: name?.(item) ?? key })}
              checked={selected.has(key)}
              onChange={(event) => {
                const next = new Set(selected)
                if (event.target.checked) next.add(key)
                else next.delete(key)
                select(next)
              }}
            />
          </div>
        )}
        {columns.map((column) => (
          <div key={column.key} role="cell" className={`td ${column.right ? 'right' : ''} ${column.lead ? 'lead' : ''} ${column.tail ? 'tail' : ''}`}>
            {column.label && <span className="td-label">{column.title}</span>}
            {column.cell(item)}
          </div>
        ))}
      </div>
    )
  }
  return (
    <div ref={scroller} className={props.fill ? 'table fill' : 'table'} tabIndex={0} role="table" aria-label={label} aria-rowcount={items.length + 1}>
      <Header {...props} template={template} />
      <div className="tbody" role="rowgroup" style={many ? { height: virtual.getTotalSize(), position: 'relative' } : undefined}>
        {many ? (
          <div role="presentation" style={{ position: 'absolute', left: 0, right: 0, transform: `translateY(${offset}px)` }}>
            {rows.map(row)}
          </div>
        ) : (
          rows.map(row)
        )}
      </div>
    </div>
  )
}

function Header<T>({ items, columns, id, sorting, setSorting, selected, select, template }: TableProps<T> & { template: string }) {
  const all = items.length > 0 && items.every((item) => selected?.has(id(item)))
  return (
    <div className="thead" role="rowgroup">
      <div role="row" className="tr" style={{ gridTemplateColumns: template }} aria-rowindex={1}>
        {select && (
          <div role="columnheader">
            <input type="checkbox" className="check" aria-label={t('Select all')} checked={all} onChange={() => select(all ? new Set() : new Set(items.map(id)))} />
          </div>
        )}
        {columns.map((column) => {
          const now = sorting?.key === column.key
          return (
            <div key={column.key} role="columnheader" className={column.right ? 'td right' : 'td'} aria-sort={now ? (sorting.down ? 'descending' : 'ascending') : undefined}>
              {column.sort && setSorting ? (
                <button type="button" onClick={() => setSorting({ key: column.key, down: now ? !sorting.down : false })}>
                  {column.title}
                  {now && (sorting.down ? <ArrowDown aria-hidden /> : <ArrowUp aria-hidden />)}
                </button>
              ) : column.title ? (
                column.title
              ) : (
                <span className="hidden">{t('Actions')}</span>
              )}
            </div>
          )
        })}
      </div>
    </div>
  )
}
