// What an instance uses, live: the server tells once a second.

import { useEffect, useState } from 'react'
import { send } from '../api/http'
import { readLines } from '../api/lines'
import { objectPath, type Instance, type Stats } from '../api/objects'
import type { Problem } from '../api/problem'
import { followStream } from '../api/stream'
import { formatBytes, t } from '../i18n'
import { ProblemNote } from '../ui/parts'

/** What lies between two looks. */
interface Sample {
  cpus: number
  memory: number
  received: number
  sent: number
  read: number
  written: number
  pids: number
}

/** Seconds that are shown. */
const SPAN = 120

export function between(last: Stats, now: Stats): Sample | undefined {
  if (!last.time || !now.time) return undefined
  const seconds = (Date.parse(now.time) - Date.parse(last.time)) / 1000
  if (seconds <= 0) return undefined
  const rate = (of: (stats: Stats) => number) => Math.max(0, of(now) - of(last)) / seconds
  const sum = (numbers: number[]) => numbers.reduce((all, it) => all + it, 0)
  return {
    cpus: rate((it) => it.cpuNs) / 1e9,
    memory: now.memory,
    received: rate((it) => sum((it.interfaces ?? []).map((one) => one.rxBytes))),
    sent: rate((it) => sum((it.interfaces ?? []).map((one) => one.txBytes))),
    read: rate((it) => it.block?.[0] ?? 0),
    written: rate((it) => it.block?.[1] ?? 0),
    pids: now.pids,
  }
}

export function Graphs({ instance }: { instance: Instance }) {
  const runs = instance.status?.phase === 'running'
  const { samples, last, problem } = useSamples(`${objectPath(instance.meta, 'instances')}/stats`, runs)
  if (!runs) return <p className="faint">{t('It does not run, so it uses nothing.')}</p>
  if (problem) return <ProblemNote error={problem} />
  const now = samples[samples.length - 1]
  const perSecond = (bytes: number) => t('{size}/s', { size: formatBytes(bytes) })
  return (
    <div className="graphs">
      <Graph title={t('Processors')} value={now ? now.cpus.toFixed(2) : '…'} format={(it) => it.toFixed(2)} least={0.1} lines={[{ name: t('in use'), values: samples.map((it) => it.cpus) }]} />
      <Graph
        title={t('Memory')}
        value={now ? formatBytes(now.memory) : '…'}
        about={last?.memoryLimit ? t('of {limit}', { limit: formatBytes(last.memoryLimit) }) : undefined}
        format={formatBytes}
        least={1 << 20}
        lines={[{ name: t('in use'), values: samples.map((it) => it.memory) }]}
      />
      <Graph
        title={t('Network')}
        value={now ? perSecond(now.received + now.sent) : '…'}
        format={perSecond}
        least={1024}
        lines={[
          { name: t('received'), values: samples.map((it) => it.received) },
          { name: t('sent'), values: samples.map((it) => it.sent) },
        ]}
      />
      <Graph
        title={t('Disk')}
        value={now ? perSecond(now.read + now.written) : '…'}
        format={perSecond}
        least={1024}
        lines={[
          { name: t('read'), values: samples.map((it) => it.read) },
          { name: t('written'), values: samples.map((it) => it.written) },
        ]}
      />
    </div>
  )
}

function useSamples(path: string, runs: boolean): { samples: readonly Sample[]; last?: Stats; problem?: Problem } {
  const [state, setState] = useState<{ samples: readonly Sample[]; last?: Stats }>({ samples: [] })
  const [problem, setProblem] = useState<Problem>()
  useEffect(() => {
    if (!runs) return
    const stop = new AbortController()
    const read = async (alive: () => void) => {
      const response = await send('GET', path, { query: { follow: true }, signal: stop.signal })
      setProblem(undefined)
      await readLines<Stats>(response, (looks) => {
        alive()
        setState((old) => looks.reduce(take, old))
      })
      return 'again' as const
    }
    void followStream(stop.signal, read, setProblem)
    return () => stop.abort()
  }, [path, runs])
  return { ...state, problem }
}

function take(old: { samples: readonly Sample[]; last?: Stats }, look: Stats): { samples: readonly Sample[]; last?: Stats } {
  const sample = old.last && between(old.last, look)
  return { last: look, samples: sample ? [...old.samples, sample].slice(-SPAN) : old.samples }
}

interface GraphProps {
  title: string
  value: string
  about?: string
  format: (value: number) => string
  /** The scale shows this much at least, so that nothing looks like much. */
  least: number
  lines: { name: string; values: number[] }[]
}

const COLOURS = ['var(--accent)', 'var(--warn)']
const [WIDTH, HEIGHT] = [400, 110]

function Graph({ title, value, about, format, least, lines }: GraphProps) {
  const top = Math.max(least, ...lines.flatMap((line) => line.values)) * 1.15
  const points = (values: number[]) => values.map((it, i) => `${(WIDTH * (SPAN - values.length + i + 1)) / SPAN},${HEIGHT - (it / top) * HEIGHT}`)
  return (
    <figure className="card graph" style={{ margin: 0 }}>
      <figcaption className="row">
        <span className="grow">{title}</span>
        <b>{value}</b>
        {about && <span className="faint">{about}</span>}
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={t('{title} in the last two minutes: now {value}', { title, value })}>
        {[0.25, 0.5, 0.75].map((it) => (
          <line key={it} x1={0} x2={WIDTH} y1={HEIGHT * it} y2={HEIGHT * it} stroke="var(--line)" vectorEffect="non-scaling-stroke" />
        ))}
        {lines.map((line, i) => {
          const all = points(line.values)
          if (all.length < 2) return null
          const [first] = all[0].split(',')
          return (
            <g key={line.name}>
              <polygon points={`${first},${HEIGHT} ${all.join(' ')} ${WIDTH},${HEIGHT}`} fill={COLOURS[i]} opacity={0.13} />
              <polyline points={all.join(' ')} fill="none" stroke={COLOURS[i]} strokeWidth={1.8} vectorEffect="non-scaling-stroke" />
            </g>
          )
        })}
      </svg>
      <div className="legend">
        {lines.length > 1 &&
          lines.map((line, i) => (
            <span key={line.name}>
              <i style={{ background: COLOURS[i] }} />
              {line.name}
            </span>
          ))}
        <span style={{ marginLeft: 'auto' }}>{t('up to {value}', { value: format(top) })}</span>
      </div>
    </figure>
  )
}
