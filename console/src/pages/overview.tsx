// How everything is at a glance: what is wrong and why comes first.

import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { CircleCheck } from 'lucide-react'
import type { ReactNode } from 'react'
import { useCollection } from '../api/collection'
import { get } from '../api/http'
import { apps, instances, isMachine, nodes, operations, services, volumes, type App, type DiskUsage, type Instance, type Service, type Status } from '../api/objects'
import { formatBytes, t } from '../i18n'
import { Age, Badge, Bar, Command, Facts, Head, ProblemNote, ReasonNote, WarningNote } from '../ui/parts'
import { inProject, useProject } from '../ui/project'
import { InstanceState, needsLook } from '../ui/state'
import { OperationRow } from './activity-parts'

export function Overview() {
  const project = useProject()
  const all = useCollection(instances)
  const own = inProject(all.items, project)
  const bad = own.filter(needsLook)
  const running = own.filter((it) => it.status?.phase === 'running')
  const allServices = useCollection(services)
  const failing = inProject(allServices.items, project).filter((it) => it.status?.reason)
  const allApps = useCollection(apps)
  const failed = inProject(allApps.items, project).filter((it) => it.status?.reason && ['degraded', 'failed', 'rollingBack', 'rolledBack'].includes(it.status.phase))
  const allVolumes = useCollection(volumes)
  const held = inProject(allVolumes.items, project)
  const allNodes = useCollection(nodes)
  const machines = allNodes.items
  const complete = [all, allServices, allApps, allNodes].every((it) => it.complete)
  // Before anything was told, nought would be a claim.
  const count = (from: { complete: boolean }, number: number) => (from.complete ? number : undefined)
  return (
    <div className="page">
      <Head title={t('Overview')} />
      <div className="tiles">
        <Tile to="/instances" search={{ state: 'running' }} count={count(all, running.length)} word={t('running')} of={own.length} />
        <Tile to="/instances" search={{ type: 'container' }} count={count(all, own.filter((it) => !isMachine(it)).length)} word={t('containers')} />
        <Tile to="/instances" search={{ type: 'machine' }} count={count(all, own.filter(isMachine).length)} word={t('machines')} />
        <Tile to="/volumes" count={count(allVolumes, held.length)} word={t('volumes')} />
        <Tile to="/nodes" count={count(allNodes, machines.filter((it) => it.status?.ready).length)} word={t('nodes ready')} of={machines.length} />
      </div>
      <section className="card stack">
        <h2 style={{ margin: 0 }}>{t('What needs a look')}</h2>
        {complete && bad.length + failing.length + failed.length === 0 && machines.every((it) => it.status?.ready && !it.status.warnings?.length) && (
          <p className="row" style={{ margin: 0 }}>
            <CircleCheck color="var(--good)" size={18} aria-hidden /> {t('All is well.')}
          </p>
        )}
        {machines.map((node) => (
          <div key={node.meta.id} className="stack" style={{ gap: 8 }}>
            {!node.status?.ready && <WarningNote>{t('Node {name} is not ready.', { name: node.meta.name })}</WarningNote>}
            {node.status?.warnings?.map((warning) => (
              <WarningNote key={warning}>
                {node.meta.name}: {warning}
              </WarningNote>
            ))}
          </div>
        ))}
        {bad.slice(0, 8).map((it) => (
          <Trouble key={it.meta.id} instance={it} />
        ))}
        {bad.length > 8 && (
          <Link to="/instances" search={{ sort: 'state' }}>
            {t('{n} more', { n: bad.length - 8 })}
          </Link>
        )}
        {failed.slice(0, 8).map((it) => (
          <Ailing key={it.meta.id} of={it} to="/apps/$project/$name" />
        ))}
        {failing.slice(0, 8).map((it) => (
          <Ailing key={it.meta.id} of={it} to="/services/$project/$name" />
        ))}
      </section>
      <div className="cards">
        <ThisNode />
        <Recent />
      </div>
    </div>
  )
}

function Tile({ to, search, count, of, word }: { to: string; search?: object; count?: number; of?: number; word: string }) {
  return (
    <Link to={to} search={search as never} className="card tile">
      <b>
        {count ?? '…'}
        {count !== undefined && of !== undefined && <small className="faint"> / {of}</small>}
      </b>
      <span className="faint">{word}</span>
    </Link>
  )
}

function Trouble({ instance }: { instance: Instance }) {
  return (
    <Ailing of={instance} to="/instances/$project/$name">
      <InstanceState instance={instance} />
      <span className="faint">
        <Age time={instance.meta.created} />
      </span>
    </Ailing>
  )
}

/** Something that is not as it should be, and why. */
function Ailing({ of, to, children }: { of: App | Instance | Service; to: `/${'apps' | 'instances' | 'services'}/$project/$name`; children?: ReactNode }) {
  const { project, name } = of.meta
  return (
    <div className="stack" style={{ gap: 6 }}>
      <div className="row">
        <Link to={to} params={{ project, name }}>
          {name}
        </Link>
        {children}
      </div>
      {of.status?.reason && <ReasonNote reason={of.status.reason} />}
    </div>
  )
}

function ThisNode() {
  const status = useQuery({ queryKey: ['status'], queryFn: ({ signal }) => get<Status>('/v1/system/status', {}, signal) })
  const disk = useQuery({ queryKey: ['disk'], queryFn: ({ signal }) => get<DiskUsage>('/v1/system/disk-usage', {}, signal), staleTime: 60_000 })
  if (status.error) return <ProblemNote error={status.error} retry={() => void status.refetch()} />
  const { data } = status
  const used = disk.data ? disk.data.images + disk.data.instances + disk.data.volumes + disk.data.logs : 0
  return (
    <section className="card stack">
      <h2 style={{ margin: 0 }}>{t('This node')}</h2>
      {data && (
        <Facts
          facts={[
            [t('Name'), data.node],
            [t('Version'), data.version],
            [t('State'), <Badge tone={data.ready ? 'good' : 'warn'}>{data.ready ? t('ready') : t('not ready')}</Badge>],
            [t('Up for'), <Age time={data.started} />],
          ]}
        />
      )}
      {disk.data && (
        <div className="stack" style={{ gap: 6 }}>
          <div className="row">
            <span className="grow">{t('Disk')}</span>
            <span className="faint">{t('{used} used by hull, {free} free', { used: formatBytes(used), free: formatBytes(disk.data.free) })}</span>
          </div>
          <Bar part={used / (used + disk.data.free || 1)} label={t('Disk')} />
        </div>
      )}
      {data?.addresses?.[0] && (
        <div className="stack" style={{ gap: 6 }}>
          <span className="faint">{t('From another machine, with a token:')}</span>
          <Command text={`export HULL_HOST=${data.addresses[0]}\nexport HULL_CA=${data.authority}\nexport HULL_TOKEN=hull_…`} />
        </div>
      )}
    </section>
  )
}

function Recent() {
  const { items } = useCollection(operations)
  const last = [...items].sort((one, two) => Date.parse(two.meta.created) - Date.parse(one.meta.created)).slice(0, 6)
  return (
    <section className="card">
      <div className="row">
        <h2 className="grow">{t('Operations')}</h2>
        <Link to="/activity">{t('All')}</Link>
      </div>
      {last.length === 0 ? <p className="faint">{t('Long work, such as pulling an image, shows here while it goes on.')}</p> : last.map((it) => <OperationRow key={it.meta.id} operation={it} />)}
    </section>
  )
}
