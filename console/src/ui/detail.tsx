// The frame of a page about one object: its title, what is wrong, and tabs with everything that can be seen of it.
// Which tab is open is in the address.

import type { LucideIcon } from 'lucide-react'
import { Tabs } from 'radix-ui'
import { Suspense, type ReactNode } from 'react'
import type { AnyObject, Reason } from '../api/objects'
import { t, type Word } from '../i18n'
import { Empty, Loading, ReasonNote } from './parts'

interface DetailProps<O, T extends string> {
  /** Undefined while it is not known, null when there is none. */
  object: O | undefined | null
  absent: { icon: LucideIcon; title: string; back: ReactNode }
  title: (object: O) => ReactNode
  /** Phases in which a reason is one to wait, and not a fault. */
  waits: readonly string[]
  /** What else there is to say above the tabs. */
  notes?: (object: O) => ReactNode
  tabs: (object: O) => readonly (readonly [T, Word])[]
  tab?: string
  choose: (tab: string | undefined) => void
  /** Tabs that take all of the window's height. */
  fill?: readonly T[]
  children: (tab: T, object: O) => ReactNode
}

type Told = AnyObject & { status?: { phase?: string; reason?: Reason | null } }

export function Detail<O extends Told, T extends string>({ object, absent, title, waits, notes, tabs, tab, choose, fill = [], children }: DetailProps<O, T>) {
  if (object === undefined) return <Loading />
  if (object === null) {
    return (
      <Empty icon={absent.icon} title={absent.title} action={absent.back}>
        {t('It was removed, or has another name now.')}
      </Empty>
    )
  }
  const all = tabs(object)
  const [first] = all[0]
  const current = all.find(([it]) => it === tab)?.[0] ?? first
  const filling = fill.includes(current) ? ' fill' : ''
  const { reason, phase } = object.status ?? {}
  return (
    <div className={`page${filling}`}>
      {title(object)}
      {reason && <ReasonNote reason={reason} waiting={waits.includes(phase ?? '')} />}
      {notes?.(object)}
      <Tabs.Root className={`panel${filling}`} value={current} onValueChange={(next) => choose(next === first ? undefined : next)}>
        <Tabs.List className="tabs" aria-label={t('About {name}', { name: object.meta.name })}>
          {all.map(([it, word]) => (
            <Tabs.Trigger key={it} value={it}>
              {t(word)}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        <Tabs.Content value={current} className={`panel${filling}`} style={{ paddingTop: 14 }}>
          <Suspense fallback={<Loading />}>{children(current, object)}</Suspense>
        </Tabs.Content>
      </Tabs.Root>
    </div>
  )
}
