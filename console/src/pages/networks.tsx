import { Link } from '@tanstack/react-router'
import { Network as Icon, Plus, Trash2 } from 'lucide-react'
import { useMemo, useState } from 'react'
import { useCollection } from '../api/collection'
import { post, remove } from '../api/http'
import { collectionPath, instances, isMachine, networks, objectPath, type Instance, type Network } from '../api/objects'
import { t } from '../i18n'
import { ActionMenu, FormDialog } from '../ui/dialog'
import { CheckField, Choices, Command, Empty, Head, Loading, ProblemNote, ReasonNote, TextField } from '../ui/parts'
import { inProject, projectForNew, useProject } from '../ui/project'
import { stateOf } from '../ui/state'
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

/** Who is on which network: those on several are in several. */
function NetworkMap({ networks: own, joined }: { networks: readonly Network[]; joined: Joined }) {
  return (
    <div className="cards">
      {own.map((network) => {
        const members = joined.get(network.meta.id) ?? []
        return (
          <section key={network.meta.id} className="card">
            <h2>
              {network.meta.name} <span className="faint mono">{network.spec.ipv4}</span>
            </h2>
            {members.length === 0 && <p className="faint">{t('Nobody is on it.')}</p>}
            <ul className="timeline">
              {members.slice(0, 60).map((it) => {
                const own = it.spec.placement?.interfaces?.find((one) => one.networkId === network.meta.id)
                const others = (it.spec.placement?.interfaces?.length ?? 1) - 1
                return (
                  <li key={it.meta.id}>
                    <Link className="grow cut" to="/instances/$project/$name" params={{ project: it.meta.project, name: it.meta.name }}>
                      {it.meta.name}
                    </Link>
                    <span className="mono faint">{own?.ipv4?.split('/')[0]}</span>
                    <span className="faint">
                      {isMachine(it) ? t('machine') : t('container')}
                      {others > 0 && ` +${others}`}
                      {stateOf(it) !== 'running' && ` · ${stateOf(it)}`}
                    </span>
                  </li>
                )
              })}
            </ul>
          </section>
        )
      })}
    </div>
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
