// One instance: how it is and why, and everything that can be seen of it.

import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { Box, Monitor } from 'lucide-react'
import { lazy, useState } from 'react'
import { useObject } from '../api/collection'
import { get } from '../api/http'
import { imageOf, instances, isMachine, mainOf, objectPath, type GuestFacts, type Instance, type Mount, type ProcessTable } from '../api/objects'
import { verbs } from '../api/verbs'
import { formatBytes, formatTime, t } from '../i18n'
import { Detail } from '../ui/detail'
import { ObjectEditor } from '../ui/editor'
import { Age, Badge, Facts, Head, ProblemNote, WarningNote } from '../ui/parts'
import { InstanceState, exitCode } from '../ui/state'
import { attempt } from '../ui/toast'
import { EventsOf } from './events'
import { Graphs } from './graphs'
import { Ports, RemoveDialog } from './instances'
import { Logs } from './logs'
import { MachineSnapshots } from './machine-snapshots'

const Terminal = lazy(() => import('./terminal'))
const Screen = lazy(() => import('./screen'))

const TABS = [
  ['status', 'Status'],
  ['logs', 'Logs'],
  ['terminal', 'Terminal'],
  ['screen', 'Screen'],
  ['graphs', 'Graphs'],
  ['events', 'Events'],
  ['snapshots', 'Snapshots'],
  ['yaml', 'YAML'],
] as const
type Tab = (typeof TABS)[number][0]

/** A container has no screen, and no disks to take snapshots of. */
const ofContainers = TABS.filter(([it]) => it !== 'screen' && it !== 'snapshots')

export function InstancePage() {
  const { project, name } = useParams({ from: '/instances/$project/$name' })
  const { tab } = useSearch({ from: '/instances/$project/$name' })
  const navigate = useNavigate({ from: '/instances/$project/$name' })
  return (
    <Detail
      object={useObject(instances, name, project)}
      absent={{ icon: Box, title: t('There is no instance {name}', { name }), back: <Link to="/instances">{t('All instances')}</Link> }}
      title={(instance) => <Title instance={instance} />}
      waits={['pending', 'creating']}
      notes={(instance) => instance.status?.warnings?.map((warning) => <WarningNote key={warning}>{warning}</WarningNote>)}
      tabs={(instance) => (isMachine(instance) ? TABS : ofContainers)}
      tab={tab}
      choose={(next) => void navigate({ search: { tab: next }, replace: true })}
      fill={['logs', 'terminal', 'screen']}
    >
      {(current, instance) => <Panel key={instance.meta.id} tab={current} instance={instance} />}
    </Detail>
  )
}

function Panel({ tab, instance }: { tab: Tab; instance: Instance }) {
  switch (tab) {
    case 'status':
      return <StatusTab instance={instance} />
    case 'logs':
      return <Logs instance={instance} />
    case 'terminal':
      return <Terminal instance={instance} />
    case 'screen':
      return <Screen instance={instance} />
    case 'graphs':
      return <Graphs instance={instance} />
    case 'events':
      return <EventsOf object={instance} />
    case 'snapshots':
      return <MachineSnapshots instance={instance} />
    case 'yaml':
      return <ObjectEditor object={instance} noun="instances" />
  }
}

function Title({ instance }: { instance: Instance }) {
  const [removing, setRemoving] = useState(false)
  const navigate = useNavigate()
  const { name } = instance.meta
  const Icon = isMachine(instance) ? Monitor : Box
  return (
    <Head
      crumb={<Link to="/instances">{t('Instances')}</Link>}
      title={
        <>
          <Icon size={18} role="img" aria-label={isMachine(instance) ? t('machine') : t('container')} style={{ verticalAlign: -2 }} /> {name}
        </>
      }
    >
      <InstanceState instance={instance} />
      <div className="actions">
        {verbs
          .filter((verb) => verb.fits(instance))
          .map((verb) => (
            <button key={verb.word} className={verb.danger ? 'button danger' : 'button'} onClick={() => (verb.danger ? setRemoving(true) : void attempt(() => verb.act(instance)))}>
              <verb.icon aria-hidden />
              {t(verb.word)}
            </button>
          ))}
      </div>
      <RemoveDialog open={removing} close={() => setRemoving(false)} chosen={[instance]} done={() => void navigate({ to: '/instances' })} />
    </Head>
  )
}

function StatusTab({ instance }: { instance: Instance }) {
  const { meta, spec, status } = instance
  const main = status?.containers?.find((it) => it.name === mainOf(spec)?.name)
  const machine = status?.machine
  const asked = mainOf(spec)
  const ports = spec.placement?.ports ?? []
  return (
    <div className="cards">
      <section className="card">
        <h2>{t('What it is')}</h2>
        <Facts
          facts={[
            [t('Image'), <span className="mono">{imageOf(instance)}</span>],
            [t('Command'), (asked?.command ?? []).length > 0 && <span className="mono">{asked?.command?.join(' ')}</span>],
            [t('Project'), meta.project],
            [t('Node'), spec.placement?.node],
            [t('Id'), <span className="mono">{meta.id.slice(0, 12)}</span>],
            [t('Created'), formatTime(meta.created)],
            [t('Belongs to'), meta.owner && <Owner instance={instance} />],
            [t('Restarts'), restartWord(instance)],
            [t('Labels'), Object.keys(meta.labels ?? {}).length > 0 && <Labels labels={meta.labels} />],
          ]}
        />
      </section>
      <section className="card">
        <h2>{t('How it is')}</h2>
        <Facts
          facts={[
            [t('State'), <InstanceState instance={instance} />],
            [t('Started'), main?.started && <Age time={main.started} />],
            [t('Ended'), main?.finished && main.state !== 'running' && <Age time={main.finished} />],
            [t('Exit code'), main?.state === 'exited' && exitCode(instance)],
            [t('Out of memory'), main?.oomKilled && <Badge tone="bad">{t('killed')}</Badge>],
            [t('Restarted'), (status?.restarts ?? 0) > 0 && status?.restarts],
            [t('Error'), main?.error],
            [t('Processors'), machine ? machine.cpus : asked?.resources?.cpus],
            [t('Memory limit'), asked?.resources?.memory ? formatBytes(asked.resources.memory) : undefined],
            [t('Accelerator'), machine?.accelerator],
            [t('Slow because'), machine?.slow],
          ]}
        />
        {main?.healthLog && main.healthLog.length > 0 && <Health log={main.healthLog} />}
      </section>
      <section className="card">
        <h2>{t('Network')}</h2>
        <Facts
          facts={[
            [t('Ports'), ports.length > 0 && <Ports ports={ports} />],
            [t('Mode'), spec.network.mode !== 'networks' && spec.network.mode],
            ...(spec.placement?.interfaces ?? []).map((it): [string, React.ReactNode] => [
              it.network,
              <span className="mono">{[it.ipv4, it.ipv6, it.mac].filter(Boolean).join(' · ')}</span>,
            ]),
          ]}
        />
        {(spec.placement?.interfaces ?? []).length > 0 && <p className="faint">{t('Others on these networks find it by the name {name}.', { name: meta.name })}</p>}
      </section>
      <Volumes instance={instance} />
      {machine && <Guest instance={instance} />}
      {status?.phase === 'running' && !machine && <Processes instance={instance} />}
    </div>
  )
}

function restartWord(instance: Instance): string {
  const policy = instance.spec.restart
  if (typeof policy === 'object') return t('when it fails')
  return t(policy === 'always' ? 'always' : policy === 'unlessStopped' ? 'unless it was stopped' : 'never')
}

function Owner({ instance }: { instance: Instance }) {
  const owner = instance.meta.owner
  if (!owner) return null
  if (owner.kind !== 'service') return <>{owner.name}</>
  return (
    <Link to="/services/$project/$name" params={{ project: instance.meta.project, name: owner.name }}>
      {owner.name}
    </Link>
  )
}

export function Labels({ labels }: { labels: Record<string, string> }) {
  return (
    <span className="row wrap" style={{ gap: 4 }}>
      {Object.entries(labels).map(([key, value]) => (
        <span key={key} className="chip">
          {value === '' ? key : `${key}=${value}`}
        </span>
      ))}
    </span>
  )
}

function Health({ log }: { log: NonNullable<NonNullable<Instance['status']>['containers']>[number]['healthLog'] }) {
  const last = log?.[log.length - 1]
  if (!last) return null
  return (
    <div style={{ marginTop: 12 }}>
      <h3>{t('Last health check')}</h3>
      <pre className="chip" style={{ whiteSpace: 'pre-wrap', margin: 0, maxHeight: 140, overflow: 'auto', display: 'block' }}>
        {JSON.stringify(last, null, 1)}
      </pre>
    </div>
  )
}

function Volumes({ instance }: { instance: Instance }) {
  const mounts: Mount[] = (instance.spec.containers ?? []).flatMap((it) => it.mounts ?? [])
  const disks = instance.status?.machine?.disks ?? []
  return (
    <section className="card">
      <h2>{t('Volumes')}</h2>
      {mounts.length === 0 && disks.length === 0 && <p className="faint">{t('None: what it writes goes with it. A volume keeps it.')}</p>}
      <Facts
        facts={[
          ...mounts.map((it): [string, React.ReactNode] => [
            it.target,
            <>
              {it.type === 'volume' ? <Link to="/volumes">{it.name || t('anonymous')}</Link> : it.type === 'bind' ? <span className="mono">{it.source}</span> : it.type}
              {it.readOnly && <span className="faint"> {t('read only')}</span>}
            </>,
          ]),
          ...disks.map((it): [string, React.ReactNode] => [t('disk {name}', { name: it.name }), it.size ? formatBytes(it.size) : '']),
        ]}
      />
    </section>
  )
}

function Guest({ instance }: { instance: Instance }) {
  const runs = instance.status?.phase === 'running'
  const { data, error } = useQuery({
    queryKey: ['guest', instance.meta.id, instance.status?.runs],
    queryFn: ({ signal }) => get<GuestFacts>(`${objectPath(instance.meta, 'instances')}/guest`, {}, signal),
    enabled: runs,
    retry: false,
  })
  return (
    <section className="card">
      <h2>{t('Guest')}</h2>
      {!runs && <p className="faint">{t('It does not run.')}</p>}
      {error && <p className="faint">{error.message}</p>}
      {data && (
        <Facts
          facts={[
            [t('Host name'), data.hostName],
            [t('System'), data.system],
            [t('Kernel'), data.kernel],
            [t('Addresses'), (data.interfaces ?? []).flatMap((it) => it.addresses ?? []).join(', ')],
          ]}
        />
      )}
    </section>
  )
}

function Processes({ instance }: { instance: Instance }) {
  const [open, setOpen] = useState(false)
  const { data, error } = useQuery({
    queryKey: ['top', instance.meta.id],
    queryFn: ({ signal }) => get<ProcessTable>(`${objectPath(instance.meta, 'instances')}/top`, {}, signal),
    enabled: open,
    staleTime: 0,
  })
  return (
    <section className="card">
      <h2>{t('Processes')}</h2>
      {!open && (
        <button className="button" onClick={() => setOpen(true)}>
          {t('Show')}
        </button>
      )}
      {error && <ProblemNote error={error} />}
      {data && (
        <pre style={{ overflow: 'auto', margin: 0 }} tabIndex={0}>
          {[data.titles, ...(data.processes ?? [])].map((row) => row?.join('  ')).join('\n')}
        </pre>
      )}
    </section>
  )
}
