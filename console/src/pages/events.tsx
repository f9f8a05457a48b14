// What happened, oldest first as the server tells it, newest first as it is read.

import { useEffect, useState } from 'react'
import { send, type Query } from '../api/http'
import { readLines } from '../api/lines'
import type { AnyObject, Event } from '../api/objects'
import type { Problem } from '../api/problem'
import { followStream } from '../api/stream'
import { formatTime, t } from '../i18n'
import { Age, Loading, ProblemNote } from '../ui/parts'

const MOST = 1000
/** How far back the page looks. */
const BACK = 24 * 60 * 60 * 1000

export function useEvents(query: Query): { events: readonly Event[]; complete: boolean; problem?: Problem } {
  const [events, setEvents] = useState<readonly Event[]>([])
  const [complete, setComplete] = useState(false)
  const [problem, setProblem] = useState<Problem>()
  const key = JSON.stringify(query)
  useEffect(() => {
    const stop = new AbortController()
    const read = async (alive: () => void) => {
      const since = new Date(Date.now() - BACK).toISOString()
      const response = await send('GET', '/v1/events', { query: { ...JSON.parse(key), watch: true, since }, signal: stop.signal })
      setProblem(undefined)
      setEvents([])
      setComplete(true)
      await readLines<Event>(response, (told) => {
        alive()
        setEvents((old) => [...told.reverse(), ...old].slice(0, MOST))
      })
      return 'again' as const
    }
    void followStream(stop.signal, read, setProblem)
    return () => stop.abort()
  }, [key])
  return { events, complete, problem }
}

export function EventsOf({ object }: { object: AnyObject }) {
  const { events, complete, problem } = useEvents({ objects: object.meta.id })
  if (problem) return <ProblemNote error={problem} />
  if (!complete) return <Loading />
  if (events.length === 0) return <p className="faint">{t('Nothing happened to it in the last day.')}</p>
  return (
    <div className="card">
      <ul className="timeline">
        {events.map((event, i) => (
          <EventRow key={`${event.time} ${event.action} ${events.length - i}`} event={event} />
        ))}
      </ul>
    </div>
  )
}

export function EventRow({ event, named }: { event: Event; named?: boolean }) {
  const details = Object.entries(event.details ?? {})
  return (
    <li>
      <span title={formatTime(event.time)} style={{ flex: 'none', width: '7ch' }} className="faint">
        <Age time={event.time} />
      </span>
      <div className="grow" style={{ overflowWrap: 'anywhere' }}>
        <b>{event.action}</b>{' '}
        {named && (
          <>
            {event.kind} <span className="mono">{event.name}</span>
          </>
        )}
        {details.length > 0 && <span className="faint"> {details.map(([key, value]) => `${key}=${value}`).join(', ')}</span>}
        {event.by && <span className="faint"> · {t('by {name}', { name: event.by })}</span>}
      </div>
    </li>
  )
}
