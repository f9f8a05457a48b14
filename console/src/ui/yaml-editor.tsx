import { useEffect, useMemo, useRef, useState } from 'react'
import { isNode, LineCounter, parseDocument, stringify } from 'yaml'
import { patch } from '../api/http'
import { objectPath, type AnyObject } from '../api/objects'
import { Problem } from '../api/problem'
import { t } from '../i18n'
import { differences, mergePatch, steps, type Json } from './merge-patch'
import { Choices, CopyButton, ProblemNote } from './parts'
import { attempt } from './toast'

type Format = 'yaml' | 'json'

/** What people write of an object; all else is the platform's. */
function editable(object: AnyObject): Json {
  const { labels, annotations } = object.meta
  return JSON.parse(JSON.stringify({ meta: { labels, annotations }, spec: object.spec }))
}

const write = (value: unknown, format: Format) => (format === 'json' ? JSON.stringify(value, null, 2) + '\n' : stringify(value, { lineWidth: 0 }))

/** A problem at a line of the text, counted from 1. */
interface Fault {
  problem: Problem
  line?: number
}

export default function YamlEditor({ object, noun }: { object: AnyObject; noun: string }) {
  const [format, setFormat] = useState<Format>('yaml')
  const [editing, setEditing] = useState(false)
  if (editing) return <Editing object={object} noun={noun} format={format} close={() => setEditing(false)} />
  const text = write(object, format)
  return (
    <div className="stack" style={{ gap: 10 }}>
      <div className="row wrap">
        <Choices label={t('Format')} value={format} set={setFormat} options={[['yaml', 'YAML'], ['json', 'JSON']]} />
        <CopyButton text={text} label={t('Copy')} />
        <div className="grow" />
        <button className="button primary" onClick={() => setEditing(true)}>
          {t('Edit')}
        </button>
      </div>
      <pre className="card" style={{ overflow: 'auto', margin: 0 }} tabIndex={0} aria-label={t('The whole object')}>
        {text}
      </pre>
    </div>
  )
}

function Editing({ object, noun, format, close }: { object: AnyObject; noun: string; format: Format; close: () => void }) {
  // What was there when the editing began: others' changes meanwhile are a conflict, which is told.
  const [base] = useState(object)
  const before = useMemo(() => editable(base), [base])
  const [text, setText] = useState(() => write(before, format))
  const [fault, setFault] = useState<Fault>()
  const [checked, setChecked] = useState(false)
  const [busy, setBusy] = useState(false)
  const read = useMemo(() => parse(text), [text])
  const change = read.value === undefined ? undefined : mergePatch(before, read.value)
  const path = objectPath(base.meta, noun)
  useEffect(() => {
    setChecked(false)
    if (read.fault) return setFault(read.fault)
    if (change === undefined) return setFault(undefined)
    const timer = setTimeout(async () => {
      try {
        await patch(path, change, { plan: true }, base.meta.revision)
        setFault(undefined)
        setChecked(true)
      } catch (error) {
        const problem = Problem.from(error)
        setFault({ problem, line: problem.field ? read.lineOf(problem.field) : undefined })
      }
    }, 350)
    return () => clearTimeout(timer)
    // `change` is made of `read`.
  }, [read, path, base.meta.revision])
  const apply = async () => {
    setBusy(true)
    const done = await attempt(() => patch(path, change, {}, base.meta.revision), t('Changed'))
    setBusy(false)
    if (done) close()
  }
  const listed = read.value === undefined ? [] : differences(before, read.value)
  return (
    <div className="stack" style={{ gap: 10 }}>
      {base.meta.revision !== object.meta.revision && base.meta.generation !== object.meta.generation && (
        <ProblemNote error={new Problem({ kind: 'conflict', detail: t('Somebody changed it meanwhile.'), next: t('Close the editor and begin again from what is there now.') })} />
      )}
      <Area text={text} set={setText} wrong={fault?.line} label={t('What is asked of {name}', { name: base.meta.name })} />
      {fault && <ProblemNote error={fault.problem} />}
      {listed.length > 0 && (
        <div className="card">
          <h2>{t('What changes')}</h2>
          <ul className="timeline">
            {listed.map((it) => (
              <li key={it.path} style={{ display: 'block' }} className="mono">
                <b>{it.path}</b>
                {it.from !== undefined && <div style={{ color: 'var(--bad)' }}>− {JSON.stringify(it.from)}</div>}
                {it.to !== undefined && <div style={{ color: 'var(--good)' }}>+ {JSON.stringify(it.to)}</div>}
              </li>
            ))}
          </ul>
        </div>
      )}
      <div className="row">
        <button className="button primary" disabled={!checked || busy || change === undefined} onClick={() => void apply()}>
          {t('Apply')}
        </button>
        <button className="button" onClick={close}>
          {t('Cancel')}
        </button>
        <span className="faint" role="status">
          {change === undefined && !fault ? t('Nothing is changed yet.') : checked ? t('The server would take this.') : ''}
        </span>
      </div>
    </div>
  )
}

interface Read {
  value?: Json
  fault?: Fault
  lineOf: (field: string) => number | undefined
}

/** JSON is YAML too. */
function parse(text: string): Read {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, maxAliasCount: 20 } as never)
  const first = document.errors[0]
  if (first) {
    const problem = new Problem({ kind: 'invalid', detail: first.message.split('\n')[0] })
    return { fault: { problem, line: first.linePos?.[0].line }, lineOf: () => undefined }
  }
  const lineOf = (field: string): number | undefined => {
    const path = steps(field)
    for (let length = path.length; length > 0; length--) {
      const node = document.getIn(path.slice(0, length), true)
      if (isNode(node) && node.range) return lines.linePos(node.range[0]).line
    }
    return undefined
  }
  try {
    const value = (document.toJS({ maxAliasCount: 20 }) ?? {}) as Json
    return { value, lineOf }
  } catch (error) {
    return { fault: { problem: new Problem({ kind: 'invalid', detail: Problem.from(error).message }) }, lineOf }
  }
}

function Area({ text, set, wrong, label }: { text: string; set: (text: string) => void; wrong?: number; label: string }) {
  const numbers = useRef<HTMLDivElement>(null)
  const count = text.split('\n').length
  return (
    <div className="editor">
      <div className="numbers" ref={numbers} aria-hidden>
        {Array.from({ length: count }, (_, i) => (i + 1 === wrong ? <b key={i}>{`${i + 1} ●\n`}</b> : `${i + 1}\n`))}
      </div>
      <textarea
        aria-label={label}
        aria-invalid={wrong !== undefined}
        value={text}
        rows={Math.min(40, count + 1)}
        spellCheck={false}
        onChange={(event) => set(event.target.value)}
        onScroll={(event) => {
          if (numbers.current) numbers.current.scrollTop = event.currentTarget.scrollTop
        }}
      />
    </div>
  )
}
