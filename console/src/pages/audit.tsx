// Who asked the node for what, and what they were answered: for admins.

import { useInfiniteQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { send } from '../api/http'
import { readLines } from '../api/lines'
import type { Schemas } from '../api/objects'
import { formatTime, t } from '../i18n'
import { Badge, CheckField, Command, Loading, ProblemNote, SearchBox, type Tone } from '../ui/parts'

type Entry = Schemas['AuditEntry']

const PAGE = 200

async function read(query: { path: string; by: string; failed: boolean; before?: string }, signal: AbortSignal): Promise<Entry[]> {
  const response = await send('GET', '/v1/audit', { query: { ...query, limit: PAGE }, signal })
  const entries: Entry[] = []
  await readLines<Entry>(response, (told) => void entries.push(...told))
  return entries
}

export function Audit() {
  const [path, setPath] = useState('')
  const [by, setBy] = useState('')
  const [failed, setFailed] = useState(false)
  const { data, error, isPending, hasNextPage, fetchNextPage, isFetching, refetch } = useInfiniteQuery({
    queryKey: ['audit', path, by, failed],
    queryFn: ({ pageParam, signal }) => read({ path, by, failed, before: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => (last.length < PAGE ? undefined : last[last.length - 1].time),
    retry: false,
  })
  const entries = data?.pages.flat() ?? []
  return (
    <div className="stack">
      <div className="row wrap">
        <SearchBox label={t('Path')} value={path} set={setPath} />
        <SearchBox label={t('Token or user')} value={by} set={setBy} />
        <CheckField label={t('Only refused or failed')} value={failed} set={setFailed} />
        <button className="button" disabled={isFetching} onClick={() => void refetch()}>
          {t('Read again')}
        </button>
      </div>
      {error ? (
        <ProblemNote error={error} retry={() => void refetch()} />
      ) : isPending ? (
        <Loading />
      ) : (
        <div className="card">
          <ul className="timeline">
            {entries.map((it) => (
              <Row key={it.time} entry={it} />
            ))}
          </ul>
          {entries.length === 0 && <p className="faint">{t('Nobody asked for such a thing.')}</p>}
          {hasNextPage && (
            <button className="button" disabled={isFetching} onClick={() => void fetchNextPage()}>
              {t('Older ones')}
            </button>
          )}
        </div>
      )}
      <Command text={['hull audit', by && `--by ${by}`, path && `--path ${path}`, failed && '--failed'].filter(Boolean).join(' ')} />
    </div>
  )
}

function Row({ entry }: { entry: Entry }) {
  const tone: Tone = entry.status >= 500 ? 'bad' : entry.status >= 400 ? 'warn' : entry.status === 0 ? 'none' : 'good'
  const who = entry.by || t('nobody known')
  return (
    <li className="wraps">
      <time dateTime={entry.time} style={{ width: 'auto' }}>
        {formatTime(entry.time)}
      </time>
      <div className="grow" style={{ overflowWrap: 'anywhere' }}>
        <b>{who}</b> <span className="mono">{`${entry.method} ${entry.path}`}</span>
        <span className="faint">
          {' · '}
          {t('from {place}', { place: entry.from })}
          {entry.door === 'docker' && ' · Docker'}
          {entry.reason && ` · ${entry.reason}`}
        </span>
      </div>
      <span style={{ alignSelf: 'start' }}>
        <Badge tone={tone}>{entry.status === 0 ? t('left before the answer') : entry.status}</Badge>
      </span>
    </li>
  )
}
