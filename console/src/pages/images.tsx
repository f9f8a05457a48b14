import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Download, Package, Trash2, X } from 'lucide-react'
import { useEffect, useMemo, useRef, useState } from 'react'
import { get, remove, send } from '../api/http'
import { readLines } from '../api/lines'
import type { Image, Progress } from '../api/objects'
import { Problem } from '../api/problem'
import { formatBytes, t } from '../i18n'
import { ActionMenu, FormDialog } from '../ui/dialog'
import { Age, Badge, Bar, Command, Empty, Head, Loading, ProblemNote, SearchBox } from '../ui/parts'
import { Table, type Column } from '../ui/table'
import { useEvents } from './events'

const KEY = ['images']

export function Images() {
  const queries = useQueryClient()
  const { data, error, refetch } = useQuery({ queryKey: KEY, queryFn: ({ signal }) => get<Image[]>('/v1/images', {}, signal) })
  const [text, setText] = useState('')
  const [removing, setRemoving] = useState<Image>()
  // Images are the engine's and not in the store: what happens to them says when to look again.
  const { events } = useEvents({ kinds: 'image' })
  const last = events[0]?.time
  useEffect(() => {
    if (last) void queries.invalidateQueries({ queryKey: KEY })
  }, [last, queries])
  const shown = useMemo(() => (data ?? []).filter((it) => nameOf(it).toLowerCase().includes(text.toLowerCase())), [data, text])
  if (error) return <ProblemNote error={error} retry={() => void refetch()} />
  if (!data) return <Loading />
  const columns: Column<Image>[] = [
    { key: 'name', title: t('Name'), width: 'minmax(180px, 3fr)', lead: true, cell: (it) => <b title={it.names.join('\n')}>{nameOf(it)}</b> },
    { key: 'type', title: t('Type'), width: '100px', cell: (it) => <Badge tone="none">{it.machine ? t('machine') : t('container')}</Badge> },
    { key: 'size', title: t('Size'), width: '90px', right: true, cell: (it) => formatBytes(it.size) },
    { key: 'platform', title: t('Platform'), width: '120px', cell: (it) => `${it.os}/${it.architecture}` },
    { key: 'id', title: t('Id'), width: '120px', cell: (it) => <span className="mono">{it.id.replace('sha256:', '').slice(0, 12)}</span> },
    { key: 'made', title: t('Made'), width: '80px', label: true, cell: (it) => <Age time={it.created} /> },
    {
      key: 'run',
      title: '',
      width: '110px',
      tail: true,
      cell: (it) => (
        <span className="row" style={{ gap: 2 }}>
          {it.names.length > 0 && (
            <Link className="button small" to="/create" search={{ image: nameOf(it) }}>
              {t('Run')}
            </Link>
          )}
          <ActionMenu label={t('Actions for {name}', { name: nameOf(it) })} actions={[{ title: t('Remove'), icon: Trash2, danger: true, act: () => setRemoving(it) }]} />
        </span>
      ),
    },
  ]
  return (
    <div className="page fill">
      <Head title={t('Images')} />
      <Pull done={() => void queries.invalidateQueries({ queryKey: KEY })} />
      {data.length === 0 ? (
        <Empty icon={Package} title={t('No images yet')} action={<Command text="hull image pull nginx" />}>
          {t('Images are fetched when an instance needs them. One that carries a disk is a machine.')}
        </Empty>
      ) : (
        <>
          <SearchBox label={t('Name')} value={text} set={setText} />
          <Table fill label={t('Images')} items={shown} columns={columns} id={(it) => it.id} />
        </>
      )}
      <FormDialog
        open={removing !== undefined}
        close={() => setRemoving(undefined)}
        danger
        title={t('Remove {name}?', { name: removing ? nameOf(removing) : '' })}
        verb={t('Remove')}
        act={async () => {
          if (!removing) return
          await remove('/v1/images', { name: removing.names.length > 1 ? removing.id : nameOf(removing), force: removing.names.length > 1 })
          await queries.invalidateQueries({ queryKey: KEY })
        }}
      >
        {removing && removing.names.length > 1 && <p>{t('All its names go: {names}', { names: removing.names.map(short).join(', ') })}</p>}
        <Command text={`hull image rm ${removing ? nameOf(removing) : ''}`} />
      </FormDialog>
    </div>
  )
}

const short = (name: string) => name.replace(/^docker\.io\/(library\/)?/, '')
const nameOf = (image: Image) => (image.names[0] ? short(image.names[0]) : image.id.replace('sha256:', '').slice(0, 12))

interface Layer {
  phase: string
  done: number
  total: number
}

type State = { layers: Record<string, Layer>; text?: string; problem?: Problem; finished?: boolean; unchanged?: boolean }

function Pull({ done }: { done: () => void }) {
  const [name, setName] = useState('')
  const [state, setState] = useState<State>()
  const stop = useRef<AbortController>(undefined)
  useEffect(() => () => stop.current?.abort(), [])
  const pull = async () => {
    const control = (stop.current = new AbortController())
    setState({ layers: {} })
    try {
      const response = await send('POST', '/v1/images/pull', { body: { name: name.trim(), policy: 'always' }, signal: control.signal })
      await readLines<Progress>(response, (items) => setState((old) => items.reduce(take, old ?? { layers: {} })))
      done()
    } catch (error) {
      if (!control.signal.aborted) setState((old) => ({ layers: old?.layers ?? {}, problem: Problem.from(error) }))
    }
  }
  const busy = state !== undefined && !state.problem && !state.finished
  return (
    <form
      className="card stack"
      style={{ gap: 10 }}
      onSubmit={(event) => {
        event.preventDefault()
        void pull()
      }}
    >
      <div className="row wrap">
        <input className="input" style={{ flex: '1 1 220px', width: 'auto' }} aria-label={t('Image to fetch')} placeholder={t('Image to fetch, such as nginx:1.27')} value={name} onChange={(event) => setName(event.target.value)} spellCheck={false} autoCapitalize="off" />
        <button className="button primary" disabled={busy || name.trim() === ''}>
          <Download aria-hidden />
          {t('Pull')}
        </button>
        {busy && (
          <button
            type="button"
            className="button"
            onClick={() => {
              stop.current?.abort()
              setState(undefined)
            }}
          >
            <X aria-hidden />
            {t('Stop')}
          </button>
        )}
      </div>
      {state && <PullState state={state} />}
    </form>
  )
}

function take(old: State, item: Progress): State {
  switch (item.type) {
    case 'layer':
      return { ...old, layers: { ...old.layers, [item.digest]: { phase: item.phase, done: item.done, total: item.total } } }
    case 'message':
      return { ...old, text: item.text }
    case 'pushed':
      return old
    case 'done':
      return { ...old, finished: true, unchanged: item.unchanged }
  }
}

function PullState({ state }: { state: State }) {
  const layers = Object.entries(state.layers)
  if (state.problem) return <ProblemNote error={state.problem} />
  if (state.finished) return <p role="status">{state.unchanged ? t('It is here already, and up to date.') : t('It is here.')}</p>
  return (
    <div className="stack" style={{ gap: 6 }} aria-live="off">
      {layers.length === 0 && (
        <p className="faint" role="status" style={{ margin: 0 }}>
          {state.text ?? t('Asking the registry…')}
        </p>
      )}
      {layers.map(([digest, layer]) => (
        <div key={digest} className="row">
          <span className="mono faint" style={{ width: '13ch' }}>
            {digest.replace('sha256:', '').slice(0, 12)}
          </span>
          <span style={{ width: '12ch' }}>{layer.phase}</span>
          <div className="grow">
            <Bar part={layer.phase === 'done' || layer.phase === 'exists' ? 1 : layer.done / (layer.total || 1)} label={digest.slice(7, 19)} />
          </div>
          <span className="faint">{layer.total > 0 && formatBytes(layer.total)}</span>
        </div>
      ))}
    </div>
  )
}
