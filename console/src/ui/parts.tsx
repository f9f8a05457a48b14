// The small parts that all pages are made of.

import { Check, CircleAlert, Copy, Hourglass, Search, TriangleAlert, type LucideIcon } from 'lucide-react'
import { useEffect, useId, useState, type ReactNode } from 'react'
import type { Reason } from '../api/objects'
import { Problem } from '../api/problem'
import { formatAge, formatTime, t } from '../i18n'

export function Head({ title, children, crumb }: { title: ReactNode; crumb?: ReactNode; children?: ReactNode }) {
  return (
    <div className="page-head">
      <h1>
        {crumb && <span className="crumb">{crumb} / </span>}
        {title}
      </h1>
      {children}
    </div>
  )
}

export type Tone = 'good' | 'warn' | 'bad' | 'busy' | 'none'

export function Badge({ tone, children }: { tone: Tone; children: ReactNode }) {
  return <span className={`badge ${tone}`}>{children}</span>
}

/** Why something failed, and what to do about it. */
export function ProblemNote({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = Problem.from(error)
  return (
    <div className="note bad" role="alert">
      <CircleAlert aria-hidden />
      <div className="grow">
        <p>
          {problem.field && <code>{problem.field}: </code>}
          {problem.message}
        </p>
        {problem.next && (
          <p className="next">
            {t('What to do')}: {problem.next}
          </p>
        )}
      </div>
      {retry && (
        <button className="button small" onClick={retry}>
          {t('Try again')}
        </button>
      )}
    </div>
  )
}

/** Why an object is as it is. */
export function ReasonNote({ reason, waiting }: { reason: Reason; waiting?: boolean }) {
  return (
    <div className={waiting ? 'note busy' : 'note warn'}>
      {waiting ? <Hourglass aria-hidden /> : <TriangleAlert aria-hidden />}
      <div className="grow">
        <p>{reason.message}</p>
        {reason.next && (
          <p className="next">
            {t('What to do')}: {reason.next}
          </p>
        )}
      </div>
    </div>
  )
}

export function WarningNote({ children }: { children: ReactNode }) {
  return (
    <div className="note warn">
      <TriangleAlert aria-hidden />
      <p>{children}</p>
    </div>
  )
}

export function Empty({ icon: Icon, title, children, action }: { icon: LucideIcon; title: string; children: ReactNode; action?: ReactNode }) {
  return (
    <div className="empty">
      <Icon aria-hidden />
      <h2>{title}</h2>
      <p>{children}</p>
      {action}
    </div>
  )
}

export function Loading() {
  return (
    <p className="faint" role="status">
      {t('Loading…')}
    </p>
  )
}

export function Facts({ facts }: { facts: [string, ReactNode][] }) {
  const shown = facts.filter(([, value]) => value !== undefined && value !== null && value !== '' && value !== false)
  return (
    <dl className="facts">
      {shown.map(([name, value]) => (
        <FactPair key={name} name={name} value={value} />
      ))}
    </dl>
  )
}

function FactPair({ name, value }: { name: string; value: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  )
}

/** The time, which moves every few seconds; all ages on a page move together. */
let now = Date.now()
const clocks = new Set<(now: number) => void>()
setInterval(() => {
  now = Date.now()
  if (!document.hidden) for (const clock of clocks) clock(now)
}, 5000)

export function Age({ time }: { time?: string | null }) {
  const [current, setCurrent] = useState(Date.now)
  useEffect(() => {
    clocks.add(setCurrent)
    return () => void clocks.delete(setCurrent)
  }, [])
  if (!time) return null
  return (
    <time dateTime={time} title={formatTime(time)}>
      {formatAge(time, current)}
    </time>
  )
}

export function CopyButton({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false)
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      setDone(true)
      setTimeout(() => setDone(false), 1500)
    } catch {
      // Without a right to the clipboard the text can still be selected by hand.
    }
  }
  return (
    <button type="button" className="button small icon" onClick={copy} aria-label={label} title={label}>
      {done ? <Check aria-hidden /> : <Copy aria-hidden />}
    </button>
  )
}

/** What does the same on the command line. */
export function Command({ text }: { text: string }) {
  return (
    <div className="command">
      <pre aria-label={t('On the command line')}>{text}</pre>
      <CopyButton text={text} label={t('Copy')} />
    </div>
  )
}

interface FieldProps {
  label: string
  hint?: ReactNode
  wrong?: string
  children: (ids: { id: string; 'aria-describedby'?: string; 'aria-invalid'?: true }) => ReactNode
}

export function Field({ label, hint, wrong, children }: FieldProps) {
  const id = useId()
  const about = hint || wrong ? `${id}-about` : undefined
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, 'aria-describedby': about, 'aria-invalid': wrong ? true : undefined })}
      {about && (
        <span id={about} className={wrong ? 'wrong' : 'hint'}>
          {wrong ?? hint}
        </span>
      )}
    </div>
  )
}

interface TextFieldProps {
  label: string
  value: string
  set: (value: string) => void
  hint?: ReactNode
  wrong?: string
  placeholder?: string
  type?: 'text' | 'number' | 'password' | 'datetime-local'
  rows?: number
  list?: string
  required?: boolean
  autoFocus?: boolean
}

export function TextField({ label, value, set, hint, wrong, rows, ...rest }: TextFieldProps) {
  return (
    <Field label={label} hint={hint} wrong={wrong}>
      {(ids) =>
        rows ? (
          <textarea {...ids} className="area" rows={rows} value={value} onChange={(event) => set(event.target.value)} placeholder={rest.placeholder} spellCheck={false} />
        ) : (
          <input {...ids} {...rest} className="input" value={value} onChange={(event) => set(event.target.value)} autoComplete="off" spellCheck={false} />
        )
      }
    </Field>
  )
}

export function SelectField<V extends string>({ label, value, set, options, hint }: { label: string; value: V; set: (value: V) => void; options: readonly (readonly [V, string])[]; hint?: ReactNode }) {
  return (
    <Field label={label} hint={hint}>
      {(ids) => (
        <select {...ids} className="select" value={value} onChange={(event) => set(event.target.value as V)}>
          {options.map(([key, title]) => (
            <option key={key} value={key}>
              {title}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

export function CheckField({ label, value, set, hint }: { label: string; value: boolean; set: (value: boolean) => void; hint?: string }) {
  const id = useId()
  return (
    <div className="field">
      <label htmlFor={id} className="row">
        <input id={id} type="checkbox" className="check" checked={value} onChange={(event) => set(event.target.checked)} />
        {label}
      </label>
      {hint && <span className="hint">{hint}</span>}
    </div>
  )
}

/** A few choices side by side, of which one holds. */
export function Choices<V extends string>({ label, value, set, options }: { label: string; value: V; set: (value: V) => void; options: readonly (readonly [V, ReactNode])[] }) {
  return (
    <div className="choices" role="group" aria-label={label}>
      {options.map(([key, title]) => (
        <button key={key} type="button" aria-pressed={value === key} onClick={() => set(key)}>
          {title}
        </button>
      ))}
    </div>
  )
}

/** A box to search in: what is typed shows at once, and counts a moment later. */
export function SearchBox({ value, set, label }: { value: string; set: (value: string) => void; label: string }) {
  const [typed, setTyped] = useState(value)
  useEffect(() => setTyped(value), [value])
  useEffect(() => {
    if (typed === value) return
    const timer = setTimeout(() => set(typed), 20)
    return () => clearTimeout(timer)
  }, [typed, value, set])
  return (
    <div className="search">
      <Search aria-hidden />
      <input className="input" type="search" value={typed} onChange={(event) => setTyped(event.target.value)} placeholder={label} aria-label={label} />
    </div>
  )
}

export function Bar({ part, label }: { part: number; label: string }) {
  const percent = Math.round(Math.min(1, Math.max(0, part)) * 100)
  return (
    <div className="bar" role="progressbar" aria-label={label} aria-valuenow={percent} aria-valuemin={0} aria-valuemax={100}>
      <i style={{ width: `${percent}%` }} />
    </div>
  )
}
