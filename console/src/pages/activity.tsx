// Long work, and what happened and who did it.

import { useNavigate, useSearch } from '@tanstack/react-router'
import { Activity as Icon } from 'lucide-react'
import { Tabs } from 'radix-ui'
import { useMemo, useState } from 'react'
import { useCollection } from '../api/collection'
import { operations } from '../api/objects'
import { useAdmin } from '../api/session'
import { t } from '../i18n'
import { Command, Empty, Head, Loading, ProblemNote, SearchBox } from '../ui/parts'
import { OperationRow } from './activity-parts'
import { Audit } from './audit'
import { EventRow, useEvents } from './events'

const KINDS = ['instance', 'service', 'app', 'catalog', 'network', 'volume', 'snapshot', 'secret', 'config', 'image', 'node', 'project', 'token', 'user'] as const

export function Activity() {
  const { tab } = useSearch({ from: '/activity' })
  const navigate = useNavigate({ from: '/activity' })
  const admin = useAdmin()
  const current = tab === 'events' || (tab === 'audit' && admin) ? tab : 'operations'
  return (
    <div className="page">
      <Head title={t('Activity')} />
      <Tabs.Root value={current} onValueChange={(next) => void navigate({ search: { tab: next === 'operations' ? undefined : next }, replace: true })}>
        <Tabs.List className="tabs" aria-label={t('Activity')}>
          <Tabs.Trigger value="operations">{t('Operations')}</Tabs.Trigger>
          <Tabs.Trigger value="events">{t('Events')}</Tabs.Trigger>
          {admin && <Tabs.Trigger value="audit">{t('Audit log')}</Tabs.Trigger>}
        </Tabs.List>
        <Tabs.Content value={current} className="panel" style={{ paddingTop: 14 }}>
          {current === 'operations' ? <Operations /> : current === 'events' ? <Events /> : <Audit />}
        </Tabs.Content>
      </Tabs.Root>
    </div>
  )
}

function Operations() {
  const { items, complete, problem } = useCollection(operations)
  const shown = useMemo(() => [...items].sort((one, two) => Date.parse(two.meta.created) - Date.parse(one.meta.created)), [items])
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  if (shown.length === 0) {
    return (
      <Empty icon={Icon} title={t('No operations')} action={<Command text="hull image pull nginx" />}>
        {t('Long work, such as pulling an image, shows here while it goes on.')}
      </Empty>
    )
  }
  return (
    <div className="card">
      {shown.slice(0, 200).map((it) => (
        <OperationRow key={it.meta.id} operation={it} />
      ))}
    </div>
  )
}

function Events() {
  const [kind, setKind] = useState('')
  const [text, setText] = useState('')
  const { events, complete, problem } = useEvents({ kinds: kind })
  const shown = useMemo(() => events.filter((it) => `${it.action} ${it.name} ${it.by ?? ''}`.toLowerCase().includes(text.toLowerCase())), [events, text])
  if (problem) return <ProblemNote error={problem} />
  return (
    <div className="stack">
      <div className="row wrap">
        <SearchBox label={t('Name, action, who')} value={text} set={setText} />
        <select className="select" aria-label={t('Kind')} value={kind} onChange={(event) => setKind(event.target.value)}>
          <option value="">{t('All kinds')}</option>
          {KINDS.map((it) => (
            <option key={it}>{it}</option>
          ))}
        </select>
        <span className="faint" role="status">
          {t('{n} events in the last day', { n: shown.length })}
        </span>
      </div>
      {!complete ? (
        <Loading />
      ) : (
        <div className="card">
          <ul className="timeline">
            {shown.slice(0, 500).map((event, i) => (
              <EventRow key={`${event.time} ${event.kind} ${event.name} ${event.action} ${shown.length - i}`} event={event} named />
            ))}
          </ul>
          {shown.length === 0 && <p className="faint">{t('Nothing happened.')}</p>}
        </div>
      )}
    </div>
  )
}
