// What an instance's containers print, as it comes.

import { ArrowDownToLine, Download } from 'lucide-react'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useMemo, useRef, useState } from 'react'
import { LogReader, type LogLine } from '../api/frames'
import { getBlob, send } from '../api/http'
import { mainOf, objectPath, type Instance } from '../api/objects'
import type { Problem } from '../api/problem'
import { followStream } from '../api/stream'
import { t } from '../i18n'
import { CheckField, ProblemNote, SearchBox } from '../ui/parts'
import { attempt } from '../ui/toast'

/** Lines that are kept in the page. */
const MOST = 20_000
const TAIL = 2000

export function Logs({ instance }: { instance: Instance }) {
  const containers = [...(instance.spec.init ?? []), ...(instance.spec.containers ?? [])].map((it) => it.name)
  const [container, setContainer] = useState(mainOf(instance.spec)?.name ?? '')
  const [text, setText] = useState('')
  const [times, setTimes] = useState(false)
  const [follow, setFollow] = useState(true)
  const path = `${objectPath(instance.meta, 'instances')}/logs`
  const { lines, problem } = useLog(path, container, instance.status?.runs ?? 0)
  const shown = useMemo(() => (text === '' ? lines : lines.filter((it) => it.text.toLowerCase().includes(text.toLowerCase()))), [lines, text])
  return (
    <>
      <div className="row wrap" style={{ marginBottom: 10 }}>
        <SearchBox label={t('Search the log')} value={text} set={setText} />
        {containers.length > 1 && (
          <select className="select" aria-label={t('Container')} value={container} onChange={(event) => setContainer(event.target.value)}>
            {containers.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        )}
        <CheckField label={t('Times')} value={times} set={setTimes} />
        <button className="button small" aria-pressed={follow} onClick={() => setFollow(!follow)}>
          <ArrowDownToLine aria-hidden />
          {follow ? t('Following') : t('Follow')}
        </button>
        <button className="button small" onClick={() => void attempt(async () => save(await getBlob(path, { container, raw: true }), `${instance.meta.name}.log`))}>
          <Download aria-hidden />
          {t('Download')}
        </button>
        {text !== '' && (
          <span className="faint" role="status">
            {t('{shown} of {all}', { shown: shown.length, all: lines.length })}
          </span>
        )}
      </div>
      {problem && <ProblemNote error={problem} />}
      <Lines lines={shown} text={text} times={times} follow={follow} setFollow={setFollow} />
    </>
  )
}

/** Hands bytes to the browser as a file. */
function save(bytes: Blob, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(bytes)
  link.download = name
  link.click()
  // The browser has taken it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}

/** The log of a container, read anew for each of its runs and when the connection breaks. */
function useLog(path: string, container: string, runs: number): { lines: readonly LogLine[]; problem?: Problem } {
  const [lines, setLines] = useState<readonly LogLine[]>([])
  const [problem, setProblem] = useState<Problem>()
  useEffect(() => {
    const stop = new AbortController()
    const read = async (alive: () => void) => {
      let kept: LogLine[] = []
      let drawn = false
      const draw = () => {
        drawn = false
        if (!stop.signal.aborted) setLines(kept)
      }
      const response = await send('GET', path, { query: { container, follow: true, tail: TAIL }, signal: stop.signal })
      setProblem(undefined)
      alive()
      const reader = new LogReader()
      const body = response.body?.getReader()
      setLines([])
      for (;;) {
        const { done, value } = (await body?.read()) ?? { done: true, value: undefined }
        if (done || !value) break
        const lines = reader.take(value)
        if (lines.length === 0) continue
        kept = kept.concat(lines).slice(-MOST)
        if (!drawn) {
          drawn = true
          requestAnimationFrame(draw)
        }
      }
      setLines(kept.concat(reader.rest()))
      // It ended, as the container did: another run begins another log.
      return 'over' as const
    }
    void followStream(stop.signal, read, setProblem)
    return () => stop.abort()
  }, [path, container, runs])
  return { lines, problem }
}

interface LinesProps {
  lines: readonly LogLine[]
  text: string
  times: boolean
  follow: boolean
  setFollow: (follow: boolean) => void
}

function Lines({ lines, text, times, follow, setFollow }: LinesProps) {
  const scroller = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 19,
    overscan: 30,
    getItemKey: (index) => lines[index].number,
  })
  useEffect(() => {
    if (follow && lines.length > 0) virtual.scrollToIndex(lines.length - 1, { align: 'end' })
  }, [lines, follow, virtual])
  const scrolled = () => {
    const box = scroller.current
    if (!box) return
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40
    if (!atEnd && follow && box.scrollTop < (virtual.scrollOffset ?? 0)) setFollow(false)
  }
  const first = virtual.getVirtualItems()[0]?.start ?? 0
  return (
    <div
      className="log"
      ref={scroller}
      tabIndex={0}
      role="log"
      aria-label={t('Log')}
      aria-live="off"
      onScroll={scrolled}
      onWheel={(event) => event.deltaY < 0 && follow && setFollow(false)}
    >
      {lines.length === 0 && <p className="none">{text === '' ? t('Nothing was printed yet.') : t('No line has this in it.')}</p>}
      <div style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        <div style={{ position: 'absolute', left: 0, right: 0, transform: `translateY(${first}px)` }}>
          {virtual.getVirtualItems().map((item) => (
            <Line key={item.key} index={item.index} line={lines[item.index]} text={text} times={times} measure={virtual.measureElement} />
          ))}
        </div>
      </div>
    </div>
  )
}

interface LineProps {
  index: number
  line: LogLine
  text: string
  times: boolean
  measure: (element: Element | null) => void
}

/** Colours and cursor movements of a terminal say nothing here. */
// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b(\[[0-9;?]*[ -/]*[@-~]|\][^\u0007]*(\u0007|\u001b\\)|.)|[\u0000-\u0008\u000b-\u001f]/g

function Line({ index, line, text, times, measure }: LineProps) {
  const plain = line.text.replace(ESCAPES, '')
  return (
    <div className="line" data-index={index} ref={measure}>
      {times && <time>{new Date(line.time).toISOString().slice(11, 23)}</time>}
      <span className={line.stderr ? 'err' : undefined}>{text === '' ? plain || '\u200b' : marked(plain, text)}</span>
    </div>
  )
}

function marked(line: string, text: string) {
  const at = line.toLowerCase().indexOf(text.toLowerCase())
  if (at < 0) return line
  return (
    <>
      {line.slice(0, at)}
      <mark>{line.slice(at, at + text.length)}</mark>
      {line.slice(at + text.length)}
    </>
  )
}
