// One service: its rollout slot by slot, its revisions and what differs between them.

import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { Layers, Minus, Pause, Play, Plus, RotateCcw, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { useCollection, useObject } from '../api/collection'
import { patch, post, remove } from '../api/http'
import { instances, mainOf, objectPath, services, type Instance, type Service } from '../api/objects'
import { t, type Word } from '../i18n'
import { Detail } from '../ui/detail'
import { FormDialog } from '../ui/dialog'
import { ObjectEditor } from '../ui/editor'
import { differences, type Json } from '../ui/merge-patch'
import { Age, Badge, Bar, Command, Facts, Head, TextField } from '../ui/parts'
import { InstanceState, ServiceState, stateOf } from '../ui/state'
import { attempt } from '../ui/toast'
import { EventsOf } from './events'
import { modeWord } from './services'

const REVISION = 'io.monohull.service.revision'
const SLOT = 'io.monohull.service.slot'

const TABS = [
  ['status', 'Status'],
  ['revisions', 'Revisions'],
  ['events', 'Events'],
  ['yaml', 'YAML'],
] as const

export function ServicePage() {
  const { project, name } = useParams({ from: '/services/$project/$name' })
  const { tab } = useSearch({ from: '/services/$project/$name' })
  const navigate = useNavigate({ from: '/services/$project/$name' })
  return (
    <Detail
      object={useObject(services, name, project)}
      absent={{ icon: Layers, title: t('There is no service {name}', { name }), back: <Link to="/services">{t('All services')}</Link> }}
      title={(service) => <Title service={service} />}
      waits={['updating']}
      tabs={() => TABS}
      tab={tab}
      choose={(next) => void navigate({ search: { tab: next }, replace: true })}
    >
      {(current, service) => {
        switch (current) {
          case 'status':
            return <StatusTab service={service} />
          case 'revisions':
            return <Revisions service={service} />
          case 'events':
            return <EventsOf object={service} />
          case 'yaml':
            return <ObjectEditor key={service.meta.id} object={service} noun="services" />
        }
      }}
    </Detail>
  )
}

type Asked = 'scale' | 'image' | 'remove'

function Title({ service }: { service: Service }) {
  const navigate = useNavigate()
  const [asked, ask] = useState<Asked>()
  const [value, setValue] = useState('')
  const path = objectPath(service.meta, 'services')
  const { name } = service.meta
  const mode = service.spec.mode
  const replicas = 'replicated' in mode ? mode.replicated.replicas : undefined
  const container = mainOf(service.spec.template.spec)
  const open = (what: Asked, first = '') => {
    setValue(first)
    ask(what)
  }
  const scale = (to: number) => patch(path, { spec: { mode: { replicated: { replicas: to } } } })
  const change = () => patch(path, { spec: { template: { spec: { containers: [{ ...container, image: value, imageId: undefined }] } } } })
  const failed = service.status?.phase === 'paused' && !service.spec.paused
  return (
    <Head crumb={<Link to="/services">{t('Services')}</Link>} title={name}>
      <ServiceState service={service} />
      <div className="actions">
        {replicas !== undefined && (
          <span className="choices" role="group" aria-label={t('Replicas')}>
            <button aria-label={t('One less')} disabled={replicas === 0} onClick={() => void attempt(() => scale(replicas - 1))}>
              <Minus aria-hidden />
            </button>
            <button onClick={() => open('scale', String(replicas))}>{t('{n} replicas', { n: replicas })}</button>
            <button aria-label={t('One more')} onClick={() => void attempt(() => scale(replicas + 1))}>
              <Plus aria-hidden />
            </button>
          </span>
        )}
        <button className="button" onClick={() => open('image', container?.image)}>
          <RotateCcw aria-hidden />
          {t('Change the image')}
        </button>
        <button className="button" onClick={() => void attempt(() => patch(path, { spec: { paused: !service.spec.paused } }))}>
          {service.spec.paused ? <Play aria-hidden /> : <Pause aria-hidden />}
          {service.spec.paused ? t('Resume the rollout') : t('Pause the rollout')}
        </button>
        {failed && (
          <button className="button" onClick={() => void attempt(() => patch(path, { spec: { resumed: service.spec.resumed + 1 } }))}>
            <Play aria-hidden />
            {t('Go on all the same')}
          </button>
        )}
        <button className="button danger" onClick={() => open('remove')}>
          <Trash2 aria-hidden />
          {t('Remove')}
        </button>
      </div>
      <FormDialog open={asked === 'scale'} close={() => ask(undefined)} title={t('Scale {name}', { name })} verb={t('Scale')} ready={/^\d+$/.test(value)} act={() => scale(Number(value))}>
        <TextField label={t('Replicas')} type="number" value={value} set={setValue} autoFocus />
        <Command text={`hull service scale ${name}=${value}`} />
      </FormDialog>
      <FormDialog open={asked === 'image'} close={() => ask(undefined)} title={t('Change the image of {name}', { name })} verb={t('Roll out')} ready={value.trim() !== ''} act={change}>
        <TextField label={t('Image')} value={value} set={setValue} autoFocus hint={t('Instances are changed a few at a time; one that fails stops it.')} />
        <Command text={`hull service update --image ${value || 'IMAGE'} ${name}`} />
      </FormDialog>
      <FormDialog
        open={asked === 'remove'}
        close={() => ask(undefined)}
        danger
        title={t('Remove {name}?', { name })}
        verb={t('Remove')}
        about={<p>{t('All its instances go with it. Named volumes stay.')}</p>}
        act={async () => {
          await remove(path)
          void navigate({ to: '/services' })
        }}
      >
        <Command text={`hull service rm ${name}`} />
      </FormDialog>
    </Head>
  )
}

export function instancesOf(service: Service, all: readonly Instance[]): Instance[] {
  return all.filter((it) => it.meta.owner?.kind === 'service' && it.meta.owner.id === service.meta.id)
}

function StatusTab({ service }: { service: Service }) {
  const own = instancesOf(service, useCollection(instances).items)
  const { status, spec } = service
  const wanted = status?.wanted ?? 0
  return (
    <div className="stack">
      <section className="card stack">
        <h2 style={{ margin: 0 }}>{t('Rollout')}</h2>
        <div className="row wrap">
          <span>{t('Revision {n}', { n: status?.revision ?? 0 })}</span>
          <span className="faint">{t('{updated} of {wanted} changed to it, {ready} ready', { updated: status?.updated ?? 0, wanted, ready: status?.ready ?? 0 })}</span>
        </div>
        <Bar part={wanted === 0 ? 1 : (status?.updated ?? 0) / wanted} label={t('Rollout')} />
        <Slots service={service} own={own} />
        <p className="faint" style={{ margin: 0 }}>
          {t('A square is a slot; one with a dashed border is still of an older revision.')}
        </p>
      </section>
      <div className="cards">
        <section className="card">
          <h2>{t('What it is')}</h2>
          <Facts
            facts={[
              [t('Mode'), modeWord(service)],
              [t('Image'), <span className="mono">{mainOf(spec.template.spec)?.image}</span>],
              [t('At a time'), spec.update.parallelism === 0 ? t('all at once') : spec.update.parallelism],
              [t('Order'), spec.update.order === 'startFirst' ? t('new one first') : t('old one goes first')],
              [t('When it fails'), t(spec.update.onFailure === 'rollBack' ? 'roll back' : spec.update.onFailure === 'continue' ? 'go on' : 'pause')],
              [t('Succeeded'), 'job' in spec.mode && status?.succeeded],
              [t('Failed'), (status?.failed ?? 0) > 0 && status?.failed],
            ]}
          />
        </section>
        <section className="card">
          <h2>{t('Instances')}</h2>
          {own.length === 0 && <p className="faint">{t('None at the moment.')}</p>}
          <ul className="timeline" style={{ maxHeight: 420, overflow: 'auto' }}>
            {own.slice(0, 200).map((it) => (
              <li key={it.meta.id}>
                <Link className="grow cut" to="/instances/$project/$name" params={{ project: it.meta.project, name: it.meta.name }}>
                  {it.meta.name}
                </Link>
                <InstanceState instance={it} />
              </li>
            ))}
          </ul>
        </section>
      </div>
    </div>
  )
}

function Slots({ service, own }: { service: Service; own: Instance[] }) {
  if (own.length > 400) return null
  const tone = (it: Instance) => {
    const state = stateOf(it)
    if (state === 'running') return it.status?.health === 'starting' ? 'busy' : 'good'
    return ['failed', 'unhealthy', 'exited'].includes(state) ? 'bad' : 'busy'
  }
  return (
    <div className="slots">
      {own.map((it) => {
        const old = it.meta.labels?.[REVISION] !== String(service.status?.revision)
        const slot = it.meta.labels?.[SLOT] ?? ''
        return (
          <Link key={it.meta.id} to="/instances/$project/$name" params={{ project: it.meta.project, name: it.meta.name }} className={`${tone(it)} ${old ? 'old' : ''}`} title={`${it.meta.name}: ${stateOf(it)}`} aria-label={`${it.meta.name}: ${t(stateOf(it) as Word)}`}>
            {slot.slice(0, 4)}
          </Link>
        )
      })}
    </div>
  )
}

function Revisions({ service }: { service: Service }) {
  const revisions = [...(service.status?.revisions ?? [])].reverse()
  const present = revisions.find((it) => it.number === service.status?.revision)
  const [asked, ask] = useState<number>()
  const path = objectPath(service.meta, 'services')
  if (revisions.length === 0) return <p className="faint">{t('There is only what it was made with.')}</p>
  return (
    <div className="stack">
      {revisions.map((it) => {
        const now = it.number === present?.number
        const changed = present && !now ? differences(present.template as Json, it.template as Json) : []
        return (
          <section key={it.number} className="card">
            <div className="row wrap">
              <h2 style={{ margin: 0 }}>{t('Revision {n}', { n: it.number })}</h2>
              {now && <Badge tone="good">{t('in force')}</Badge>}
              {service.status?.failedRevisions?.includes(it.number) && <Badge tone="bad">{t('failed')}</Badge>}
              <span className="faint grow">
                <Age time={it.made} />
              </span>
              {!now && (
                <button className="button small" onClick={() => ask(it.number)}>
                  <RotateCcw aria-hidden />
                  {t('Go back to it')}
                </button>
              )}
            </div>
            <p className="mono" style={{ margin: '8px 0 0' }}>
              {mainOf(it.template.spec)?.image}
            </p>
            <ul className="timeline">
              {changed.slice(0, 20).map((one) => (
                <li key={one.path} className="mono" style={{ display: 'block' }}>
                  <b>{one.path}</b>
                  <div style={{ color: 'var(--bad)' }}>− {JSON.stringify(one.from)}</div>
                  <div style={{ color: 'var(--good)' }}>+ {JSON.stringify(one.to)}</div>
                </li>
              ))}
            </ul>
          </section>
        )
      })}
      <FormDialog open={asked !== undefined} close={() => ask(undefined)} title={t('Go back to revision {n}?', { n: asked ?? 0 })} verb={t('Roll back')} act={() => post(`${path}/rollback`, { revision: asked })}>
        <p>{t('Its template becomes a new revision, which is rolled out as any other.')}</p>
        <Command text={`hull service rollback --to ${asked} ${service.meta.name}`} />
      </FormDialog>
    </div>
  )
}
