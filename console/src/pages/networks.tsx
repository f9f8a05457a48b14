import { Link } from '@tanstack/react-router'
import { Network as Icon, Plus, Trash2 } from 'lucide-react'
import { useMemo, useState } from 'react'
import { useCollection } from '../api/collection'
import { post, remove } from '../api/http'
import { collectionPath, instances, isMachine, networks, objectPath, type Instance, type Network } from '../api/objects'
import { t, type Word } from '../i18n'
import { ActionMenu, FormDialog } from '../ui/dialog'
import { Graph, type GraphBox, type GraphEdge } from '../ui/graph'
import { CheckField, Choices, Command, Empty, Head, Loading, ProblemNote, ReasonNote, TextField } from '../ui/parts'
import { inProject, projectForNew, useProject } from '../ui/project'
import { stateOf, toneOf } from '../ui/state'
import { Table, type Column } from '../ui/table'

type Joined = ReadonlyMap<string, Instance[]>

function byNetwork(all: readonly Instance[]): Joined {
  const joined = new Map<string, Instance[]>()
  for (const instance of all) {
    for (const it of instance.spec.placement?.interfaces ?? []) joined.set(it.networkId, [...(joined.get(it.networkId) ?? []), instance])
  }
  return joined
}

export function Networks() {
  const { items, complete, problem } = useCollection(networks)
  const all = useCollection(instances).items
  const project = useProject()
  const own = inProject(items, project)
  const joined = useMemo(() => byNetwork(all), [all])
  const [view, setView] = useState<'list' | 'map'>('list')
  const [creating, setCreating] = useState(false)
  const [removing, setRemoving] = useState<Network>()
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  const create = (
    <button className="button primary" onClick={() => setCreating(true)}>
      <Plus aria-hidden />
      {t('Create a network')}
    </button>
  )
  const columns: Column<Network>[] = [
    { key: 'name', title: t('Name'), width: 'minmax(120px, 2fr)', lead: true, cell: (it) => <b>{it.meta.name}</b> },
    { key: 'subnet', title: t('Subnet'), width: 'minmax(120px, 2fr)', cell: (it) => <span className="mono">{[it.spec.ipv4, it.spec.ipv6].filter(Boolean).join(', ')}</span> },
    { key: 'instances', title: t('Instances'), width: '90px', label: true, cell: (it) => joined.get(it.meta.id)?.length ?? 0 },
    { key: 'outside', title: t('Reaches outside'), width: '130px', label: true, cell: (it) => (it.spec.internal ? t('no') : t('yes')) },
    { key: 'project', title: t('Project'), width: '110px', cell: (it) => <span className="faint">{it.meta.project}</span> },
    { key: 'do', title: '', width: '34px', tail: true, cell: (it) => <ActionMenu label={t('Actions for {name}', { name: it.meta.name })} actions={[{ title: t('Remove'), icon: Trash2, danger: true, act: () => setRemoving(it) }]} /> },
  ]
  return (
    <div className="page">
      <Head title={t('Networks')}>
        <Choices label={t('View')} value={view} set={setView} options={[['list', t('List')], ['map', t('Map')]]} />
        <div className="actions">{create}</div>
      </Head>
      {own.map((it) => it.status?.reason && <ReasonNote key={it.meta.id} reason={{ ...it.status.reason, message: `${it.meta.name}: ${it.status.reason.message}` }} />)}
      {own.length === 0 ? (
        <Empty icon={Icon} title={t('No networks yet')} action={create}>
          {t('A project gets a network of its own with its first instance. Further ones keep groups of instances apart; an instance can be on several.')}
        </Empty>
      ) : view === 'list' ? (
        <Table label={t('Networks')} items={own} columns={columns} id={(it) => it.meta.id} />
      ) : (
        <NetworkMap networks={own} joined={joined} />
      )}
      <CreateDialog open={creating} close={() => setCreating(false)} />
      <FormDialog open={removing !== undefined} close={() => setRemoving(undefined)} danger title={t('Remove {name}?', { name: removing?.meta.name ?? '' })} verb={t('Remove')} act={async () => removing && remove(objectPath(removing.meta, 'networks'))}>
        <p>{t('It can go when no instance is on it.')}</p>
        <Command text={`hull network rm ${removing?.meta.name}`} />
      </FormDialog>
    </div>
  )
}

/** More than these make a map that nobody reads. */
const MOST = 80

/** Who is on which network, and what reaches outside. */
function NetworkMap({ networks: own, joined }: { networks: readonly Network[]; joined: Joined }) {
  const all = [...new Map(own.flatMap((it) => joined.get(it.meta.id) ?? []).map((it) => [it.meta.id, it])).values()]
  const members = all.slice(0, MOST)
  const boxes: GraphBox[] = [
    ...members.map((it): GraphBox => ({
      id: it.meta.id,
      title: it.meta.name,
      about: [t(isMachine(it) ? 'machine' : 'container'), t(stateOf(it) as Word)].join(' · '),
      tone: toneOf(it),
      open: (label, inside) => (
        <Link to="/instances/$project/$name" params={{ project: it.meta.project, name: it.meta.name }} aria-label={label}>
          {inside}
        </Link>
      ),
    })),
    ...own.map((it): GraphBox => ({ id: it.meta.id, title: it.meta.name, about: it.spec.ipv4 ?? it.spec.ipv6 ?? t('network'), least: 1 })),
    { id: 'outside', title: t('Outside'), about: t('through this node'), last: true },
  ]
  const edges: GraphEdge[] = [
    ...members.flatMap((it) => (it.spec.placement?.interfaces ?? []).map((one) => ({ from: it.meta.id, to: one.networkId, says: t('on network') }))),
    ...own.filter((it) => !it.spec.internal).map((it) => ({ from: it.meta.id, to: 'outside', says: t('reaches'), dashed: true })),
  ]
  return (
    <section className="card">
      {all.length > MOST && <p className="faint">{t('{n} of {all} instances are shown. Choose a project to see its own.', { n: MOST, all: all.length })}</p>}
      <Graph label={t('Instances and the networks they are on')} boxes={boxes} edges={edges} />
    </section>
  )
}

function CreateDialog({ open, close }: { open: boolean; close: () => void }) {
  const [name, setName] = useState('')
  const [subnet, setSubnet] = useState('')
  const [internal, setInternal] = useState(false)
  const spec = { ...(subnet ? { ipv4: subnet } : {}), ...(internal ? { internal } : {}) }
  return (
    <FormDialog open={open} close={close} title={t('Create a network')} verb={t('Create')} ready={name.trim() !== ''} act={() => post(collectionPath(projectForNew(), 'networks'), { meta: { name: name.trim() }, spec })}>
      <TextField label={t('Name')} value={name} set={setName} autoFocus required />
      <TextField label={t('Subnet')} value={subnet} set={setSubnet} placeholder="10.20.0.0/24" hint={t('A free one when empty.')} />
      <CheckField label={t('Cut off from outside')} value={internal} set={setInternal} />
      <Command text={['hull network create', subnet && `--subnet ${subnet}`, internal && '--internal', name || 'NAME'].filter(Boolean).join(' ')} />
    </FormDialog>
  )
}
