import { useQuery } from '@tanstack/react-query'
import { Server } from 'lucide-react'
import { useState } from 'react'
import { useCollection } from '../api/collection'
import { get, patch } from '../api/http'
import { instances, nodes, objectPath, type CheckReport, type DiskUsage, type Node } from '../api/objects'
import { formatBytes, t } from '../i18n'
import { Age, Badge, Bar, Command, Empty, Facts, Head, Loading, ProblemNote, WarningNote } from '../ui/parts'
import { attempt } from '../ui/toast'

export function Nodes() {
  const { items, complete, problem } = useCollection(nodes)
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  if (items.length === 0) {
    return (
      <Empty icon={Server} title={t('No nodes')}>
        {t('A node shows here once its agent has spoken.')}
      </Empty>
    )
  }
  return (
    <div className="page">
      <Head title={t('Nodes')} />
      {items.map((node) => (
        <NodeCard key={node.meta.id} node={node} />
      ))}
      <Join />
    </div>
  )
}

/** How a further machine comes to these. */
function Join() {
  return (
    <section className="card stack">
      <h2 style={{ margin: 0 }}>{t('A further machine')}</h2>
      <p style={{ margin: 0 }}>
        {t('Clusters of more than one node are not there yet, so there is nothing to join: hull join says so, too. Until then each machine is a platform of its own, with its own console:')}
      </p>
      <Command text="make up" />
    </section>
  )
}

function NodeCard({ node }: { node: Node }) {
  const { meta, spec, status } = node
  const here = useCollection(instances).items.filter((it) => it.spec.placement?.node === meta.name)
  const path = objectPath(meta, 'nodes')
  const disk = useQuery({ queryKey: ['disk', meta.name], queryFn: ({ signal }) => get<DiskUsage>(`${path}/disk-usage`, {}, signal), staleTime: 60_000 })
  const parts: [string, number][] = disk.data
    ? [
        [t('Images'), disk.data.images],
        [t('Instances'), disk.data.instances],
        [t('Volumes'), disk.data.volumes],
        [t('Logs'), disk.data.logs],
        [t('Free'), disk.data.free],
      ]
    : []
  const whole = parts.reduce((sum, [, size]) => sum + size, 0)
  return (
    <section className="card stack">
      <div className="row wrap">
        <h2 style={{ margin: 0 }}>{meta.name}</h2>
        <Badge tone={status?.ready ? 'good' : 'bad'}>{status?.ready ? t('ready') : t('not ready')}</Badge>
        {spec.cordoned && <Badge tone="warn">{t('takes nothing new')}</Badge>}
        <div className="grow" />
        <button className="button" onClick={() => void attempt(() => patch(path, { spec: { cordoned: !spec.cordoned } }))}>
          {spec.cordoned ? t('Take new instances again') : t('Take nothing new')}
        </button>
      </div>
      {status?.warnings?.map((warning) => <WarningNote key={warning}>{warning}</WarningNote>)}
      <div className="cards">
        <Facts
          facts={[
            [t('Processors'), status?.cpus],
            [t('Memory'), status?.memory ? formatBytes(status.memory) : ''],
            [t('Instances'), t('{running} of {all} running', { running: here.filter((it) => it.status?.phase === 'running').length, all: here.length })],
            [t('Addresses'), few(status?.addresses ?? [])],
          ]}
        />
        <Facts
          facts={[
            [t('System'), status?.os],
            [t('Kernel'), status?.kernel],
            [t('Architecture'), status?.architecture],
            [t('Engine'), status?.engine],
            [t('Version'), status?.version],
            [t('Last heard of'), <Age time={status?.seen} />],
          ]}
        />
        <div className="stack" style={{ gap: 8 }}>
          {parts.map(([name, size]) => (
            <div key={name}>
              <div className="row">
                <span className="grow">{name}</span>
                <span className="faint">{formatBytes(size)}</span>
              </div>
              <Bar part={size / (whole || 1)} label={name} />
            </div>
          ))}
        </div>
      </div>
      <Check path={path} />
    </section>
  )
}

/** A node has an address on each of its networks: those that others reach best come first. */
function few(addresses: readonly string[]): string {
  const rest = addresses.length - 4
  return addresses.slice(0, 4).join(', ') + (rest > 0 ? `, ${t('{n} more', { n: rest })}` : '')
}

/** What `hull check` finds. */
function Check({ path }: { path: string }) {
  const [open, setOpen] = useState(false)
  const { data, error, isFetching } = useQuery({ queryKey: ['check', path], queryFn: ({ signal }) => get<CheckReport>(`${path}/check`, {}, signal), enabled: open, staleTime: 0 })
  if (!open) {
    return (
      <div>
        <button className="button" onClick={() => setOpen(true)}>
          {t('Is it fit?')}
        </button>
      </div>
    )
  }
  if (error) return <ProblemNote error={error} />
  if (isFetching || !data) return <Loading />
  return (
    <ul className="timeline">
      {data.findings?.map((it) => (
        <li key={it.name}>
          <Badge tone={it.outcome === 'pass' ? 'good' : it.outcome === 'warn' ? 'warn' : 'bad'}>{it.name}</Badge>
          <div className="grow">
            {it.finding}
            {it.remedy && <div className="faint">{it.remedy}</div>}
          </div>
        </li>
      ))}
    </ul>
  )
}
