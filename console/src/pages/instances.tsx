// Containers and machines in one list, with the same actions.

import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { Box, Boxes, Monitor, X } from 'lucide-react'
import { useDeferredValue, useMemo, useState } from 'react'
import { useCollection } from '../api/collection'
import { imageOf, instances, isMachine, type Instance, type Port } from '../api/objects'
import { verbs, type Verb } from '../api/verbs'
import { t, type Word } from '../i18n'
import type { InstancesSearch } from '../routes'
import { ActionMenu, FormDialog, type Action } from '../ui/dialog'
import { Age, Choices, Command, Empty, Head, Loading, ProblemNote, SearchBox } from '../ui/parts'
import { inProject, useProject } from '../ui/project'
import { InstanceState, stateOf } from '../ui/state'
import { sorted, Table, type Column } from '../ui/table'
import { attempt, complain, tell } from '../ui/toast'

const STATES: Word[] = ['running', 'unhealthy', 'pending', 'creating', 'paused', 'restarting', 'exited', 'failed', 'removing']

export function Instances() {
  const search = useSearch({ from: '/instances' })
  const navigate = useNavigate({ from: '/instances' })
  const project = useProject()
  const { items, complete, problem } = useCollection(instances)
  const [selected, select] = useState<ReadonlySet<string>>(new Set())
  const set = useMemo(() => (next: Partial<InstancesSearch>) => void navigate({ search: (old: InstancesSearch) => ({ ...old, ...next }), replace: true }), [navigate])
  const setText = useMemo(() => (q: string) => set({ q: q || undefined }), [set])
  const deferred = useDeferredValue(search)
  const own = useMemo(() => inProject(items, project), [items, project])
  const found = useMemo(() => own.filter(matches(deferred)), [own, deferred])
  const columns = useMemo(() => columnsFor(project === ''), [project])
  const sorting = { key: search.sort ?? 'name', down: search.down ?? false }
  const shown = useMemo(() => sorted(found, columns, sorting), [found, columns, sorting.key, sorting.down])
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  return (
    <div className="page fill">
      <Head title={t('Instances')} />
      {own.length === 0 ? (
        <None />
      ) : (
        <>
          <div className="row wrap">
            <SearchBox label={t('Name, image, label, address')} value={search.q ?? ''} set={setText} />
            <Choices
              label={t('Type')}
              value={search.type ?? 'all'}
              set={(type) => set({ type: type === 'all' ? undefined : type })}
              options={[
                ['all', t('All')],
                ['container', t('Containers')],
                ['machine', t('Machines')],
              ]}
            />
            <select className="select" aria-label={t('State')} value={search.state ?? ''} onChange={(event) => set({ state: event.target.value || undefined })}>
              <option value="">{t('Any state')}</option>
              {STATES.map((state) => (
                <option key={state} value={state}>
                  {t(state)}
                </option>
              ))}
            </select>
            <span className="faint" role="status">
              {t('{shown} of {all}', { shown: shown.length, all: own.length })}
            </span>
          </div>
          <Bulk chosen={own.filter((it) => selected.has(it.meta.id))} clear={() => select(new Set())} />
          {shown.length === 0 ? (
            <Empty icon={Boxes} title={t('Nothing matches')} action={<button className="button" onClick={() => set({ q: undefined, type: undefined, state: undefined })}>{t('Show all')}</button>}>
              {t('No instance is like what you filter by.')}
            </Empty>
          ) : (
            <Table fill label={t('Instances')} items={shown} columns={columns} id={(it) => it.meta.id} name={(it) => it.meta.name} sorting={sorting} setSorting={({ key, down }) => set({ sort: key === 'name' ? undefined : key, down: down || undefined })} selected={selected} select={select} />
          )}
        </>
      )}
    </div>
  )
}

function None() {
  return (
    <Empty
      icon={Boxes}
      title={t('Nothing runs here yet')}
      action={
        <>
          <Link to="/create" className="button primary">
            {t('Create an instance')}
          </Link>
          <Command text="hull run -d --name web -p 8080:80 nginx" />
        </>
      }
    >
      {t('An instance is a container or a virtual machine; its image tells which. Both have the same actions, networks and volumes.')}
    </Empty>
  )
}

/** What an instance is found by, made once for each state of it. */
const texts = new WeakMap<Instance, string>()

function textOf(instance: Instance): string {
  let text = texts.get(instance)
  if (text === undefined) {
    const { meta, spec } = instance
    const labels = Object.entries(meta.labels ?? {}).map(([key, value]) => `${key}=${value}`)
    const addresses = (spec.placement?.interfaces ?? []).map((it) => it.ipv4 ?? '')
    text = [meta.name, meta.id.slice(0, 12), imageOf(instance), spec.placement?.node ?? '', ...labels, ...addresses].join(' ').toLowerCase()
    texts.set(instance, text)
  }
  return text
}

export function matches({ q = '', type, state }: InstancesSearch): (instance: Instance) => boolean {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean)
  return (instance) =>
    (!type || (type === 'machine') === isMachine(instance)) &&
    (!state || stateOf(instance) === state) &&
    words.every((word) => textOf(instance).includes(word))
}

const byText = (of: (instance: Instance) => string) => (one: Instance, two: Instance) => of(one).localeCompare(of(two), 'en', { numeric: true })

function columnsFor(manyProjects: boolean): Column<Instance>[] {
  const columns: Column<Instance>[] = [
    { key: 'name', title: t('Name'), width: 'minmax(150px, 2fr)', lead: true, sort: byText((it) => it.meta.name), cell: (it) => <Name instance={it} /> },
    { key: 'state', title: t('State'), width: 'minmax(110px, 1fr)', sort: byText(stateOf), cell: (it) => <InstanceState instance={it} /> },
    { key: 'image', title: t('Image'), width: 'minmax(120px, 2fr)', sort: byText(imageOf), cell: (it) => <span title={imageOf(it)}>{imageOf(it)}</span> },
    { key: 'ports', title: t('Ports'), width: 'minmax(90px, 1fr)', cell: (it) => <Ports ports={it.spec.placement?.ports ?? []} /> },
    { key: 'node', title: t('Node'), width: 'minmax(80px, 1fr)', sort: byText((it) => it.spec.placement?.node ?? ''), cell: (it) => it.spec.placement?.node },
    { key: 'age', title: t('Age'), width: '72px', sort: (one, two) => Date.parse(two.meta.created) - Date.parse(one.meta.created), cell: (it) => <Age time={it.meta.created} /> },
    { key: 'actions', title: '', width: '34px', tail: true, cell: (it) => <InstanceMenu instance={it} /> },
  ]
  if (manyProjects) {
    columns.splice(4, 0, { key: 'project', title: t('Project'), width: 'minmax(80px, 1fr)', sort: byText((it) => it.meta.project), cell: (it) => <span className="faint">{it.meta.project}</span> })
  }
  return columns
}

function Name({ instance }: { instance: Instance }) {
  const { name, project } = instance.meta
  const machine = isMachine(instance)
  const Icon = machine ? Monitor : Box
  return (
    <Link to="/instances/$project/$name" params={{ project, name }} className="name">
      <Icon aria-label={machine ? t('machine') : t('container')} role="img" /> {name}
    </Link>
  )
}

export function Ports({ ports }: { ports: readonly Port[] }) {
  const published = ports.filter((port) => port.host)
  return (
    <>
      {published.map((port, i) => (
        <span key={i}>
          {i > 0 && ', '}
          {port.protocol === 'udp' ? (
            `${port.host}→${port.target}/udp`
          ) : (
            <a href={`http://${location.hostname}:${port.host}`} target="_blank" rel="noreferrer" title={t('Open in a new tab')}>
              {port.host}→{port.target}
            </a>
          )}
        </span>
      ))}
    </>
  )
}

export function InstanceMenu({ instance }: { instance: Instance }) {
  const [removing, setRemoving] = useState(false)
  const actions: (Action | 'line')[] = verbs.map((verb) => ({
    title: t(verb.word),
    icon: verb.icon,
    danger: verb.danger,
    disabled: !verb.fits(instance),
    act: () => (verb.danger ? setRemoving(true) : void attempt(() => verb.act(instance))),
  }))
  actions.splice(actions.length - 1, 0, 'line')
  return (
    <>
      <ActionMenu label={t('Actions for {name}', { name: instance.meta.name })} actions={actions} />
      <RemoveDialog open={removing} close={() => setRemoving(false)} chosen={[instance]} />
    </>
  )
}

export function RemoveDialog({ open, close, chosen, done }: { open: boolean; close: () => void; chosen: readonly Instance[]; done?: () => void }) {
  const verb = verbs.find((it) => it.danger) as Verb
  return (
    <FormDialog
      open={open}
      close={close}
      danger
      title={chosen.length === 1 ? t('Remove {name}?', { name: chosen[0].meta.name }) : t('Remove {n} instances?', { n: chosen.length })}
      verb={t('Remove')}
      about={<p>{t('What runs is ended. Anonymous volumes go with it, named ones stay.')}</p>}
      act={async () => {
        await each(verb, chosen)
        done?.()
      }}
    >
      {chosen.length > 1 && <p className="faint">{chosen.slice(0, 12).map((it) => it.meta.name).join(', ') + (chosen.length > 12 ? ' …' : '')}</p>}
      <Command text={`hull rm -f ${chosen.slice(0, 12).map((it) => it.meta.name).join(' ')}`} />
    </FormDialog>
  )
}

/** Does it to all, a few at a time; what cannot be done to one is told and does not keep the others. */
async function each(verb: Verb, chosen: readonly Instance[]): Promise<void> {
  const waiting = chosen.filter(verb.fits)
  const faults: unknown[] = []
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      await verb.act(next).catch((error) => faults.push(error))
    }
  }
  await Promise.all(Array.from({ length: 6 }, worker))
  if (faults.length > 0 && chosen.length === 1) throw faults[0]
  faults.slice(0, 3).forEach(complain)
}

function Bulk({ chosen, clear }: { chosen: readonly Instance[]; clear: () => void }) {
  const [removing, setRemoving] = useState(false)
  if (chosen.length === 0) return null
  const act = async (verb: Verb) => {
    const fitting = chosen.filter(verb.fits).length
    await each(verb, chosen)
    tell(t('{verb}: {n} instances', { verb: t(verb.word), n: fitting }))
  }
  return (
    <div className="bulk" role="toolbar" aria-label={t('Actions for what is selected')}>
      <b>{t('{n} selected', { n: chosen.length })}</b>
      {verbs.map((verb) => (
        <button key={verb.word} className={verb.danger ? 'button small danger' : 'button small'} disabled={!chosen.some(verb.fits)} onClick={() => (verb.danger ? setRemoving(true) : void act(verb))}>
          <verb.icon aria-hidden />
          {t(verb.word)}
        </button>
      ))}
      <button className="button small plain" onClick={clear}>
        <X aria-hidden />
        {t('Clear')}
      </button>
      <RemoveDialog open={removing} close={() => setRemoving(false)} chosen={chosen} done={clear} />
    </div>
  )
}
