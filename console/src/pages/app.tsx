// One app: its services and what they are made of, its history, its files.

import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { ExternalLink, FileDiff, LayoutGrid, Minus, Plus, RotateCcw, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { appPath, decode, deploy, encode, type AppFiles, type Deployed } from '../api/apps'
import { useCollection, useObject } from '../api/collection'
import { get, remove } from '../api/http'
import { apps, instances, services, type App, type Instance, type Schemas } from '../api/objects'
import { openAddress } from '../api/open-address'
import { getTemplate, type TemplateDetail } from '../api/templates'
import { t } from '../i18n'
import { Detail } from '../ui/detail'
import { FormDialog } from '../ui/dialog'
import { Graph, type GraphBox, type GraphEdge } from '../ui/graph'
import { Age, Badge, CheckField, Command, Facts, Head, Loading, ProblemNote, type Tone } from '../ui/parts'
import { Changes, PlanDialog } from '../ui/plan'
import { InstanceState } from '../ui/state'
import { attempt, tell } from '../ui/toast'
import { AppState } from './apps'
import { EventsOf } from './events'
import { Ports } from './instances'

const TABS = [
  ['status', 'Status'],
  ['history', 'History'],
  ['files', 'Files'],
  ['events', 'Events'],
] as const

export function AppPage() {
  const { project, name } = useParams({ from: '/apps/$project/$name' })
  const { tab } = useSearch({ from: '/apps/$project/$name' })
  const navigate = useNavigate({ from: '/apps/$project/$name' })
  return (
    <Detail
      object={useObject(apps, name, project)}
      absent={{ icon: LayoutGrid, title: t('There is no app {name}', { name }), back: <Link to="/apps">{t('All apps')}</Link> }}
      title={(app) => <Title app={app} />}
      waits={['pending', 'deploying', 'removing']}
      tabs={() => TABS}
      tab={tab}
      choose={(next) => void navigate({ search: { tab: next }, replace: true })}
    >
      {(current, app) => {
        switch (current) {
          case 'status':
            return <StatusTab app={app} />
          case 'history':
            return <History app={app} />
          case 'files':
            return <Files key={app.spec.revision} app={app} />
          case 'events':
            return <EventsOf object={app} />
        }
      }}
    </Detail>
  )
}

function Title({ app }: { app: App }) {
  const navigate = useNavigate()
  const [removing, setRemoving] = useState(false)
  const [volumes, setVolumes] = useState(false)
  const { name, project } = app.meta
  const origin = app.spec.origin
  const detail = useTemplate(app)
  const offered = detail?.template.version
  return (
    <Head crumb={<Link to="/apps">{t('Apps')}</Link>} title={name}>
      <AppState app={app} />
      {offered && origin && offered !== origin.version && <Badge tone="none">{t('version {version} is offered', { version: offered })}</Badge>}
      <div className="actions">
        <OpenLink app={app} detail={detail} />
        {origin && (
          <Link className="button" to="/catalog/$catalog/$name" params={{ catalog: origin.catalog, name: origin.template }} search={{ app: name }}>
            <RotateCcw aria-hidden />
            {t('Upgrade or change answers')}
          </Link>
        )}
        <button className="button danger" onClick={() => setRemoving(true)}>
          <Trash2 aria-hidden />
          {t('Remove')}
        </button>
      </div>
      <FormDialog
        open={removing}
        close={() => setRemoving(false)}
        danger
        title={t('Remove {name}?', { name })}
        verb={t('Remove')}
        about={<p>{t('All that it made goes with it.')}</p>}
        act={async () => {
          await remove(appPath(project, name), { volumes })
          void navigate({ to: '/apps' })
        }}
      >
        <CheckField label={t('Its volumes too')} value={volumes} set={setVolumes} hint={t('What they hold is lost.')} />
        <Command text={`hull app down ${volumes ? '--volumes ' : ''}${name}`} />
      </FormDialog>
    </Head>
  )
}

function StatusTab({ app }: { app: App }) {
  const { project, name } = app.meta
  const origin = app.spec.origin
  const own = useCollection(instances).items.filter((it) => it.meta.project === project && it.meta.labels?.['io.monohull.app'] === name)
  const names = new Set((app.status?.services ?? []).map((it) => it.name))
  const ports = useCollection(services).items.filter((it) => it.meta.project === project && names.has(it.meta.name)).flatMap((it) => it.status?.ports ?? [])
  return (
    <div className="stack">
      <AppGraph app={app} />
      <div className="cards">
        <Services app={app} />
        <Own app={app} own={own} />
        <section className="card">
          <h2>{t('What it is')}</h2>
          <Facts
            facts={[
              [t('From'), origin ? `${origin.catalog}/${origin.template} ${origin.version}` : t('a Compose file')],
              [t('Revision'), app.spec.revision],
              [t('Project'), project],
              [t('Ports'), ports.length > 0 && <Ports ports={ports} />],
              ...Object.entries(origin?.answers ?? {}).map(([key, value]): [string, string] => [key, value]),
              ...(origin?.secretAnswers ?? []).map((key): [string, string] => [key, '••••••']),
            ]}
          />
        </section>
        {(['networks', 'volumes', 'secrets', 'configs'] as const).map((kind) => {
          const objects = app.spec.objects?.[kind] ?? []
          if (objects.length === 0) return null
          const word = ({ networks: 'Networks', volumes: 'Volumes', secrets: 'Secrets', configs: 'Configs' } as const)[kind]
          return (
            <section key={kind} className="card">
              <h2>{t(word)}</h2>
              <ul className="timeline">
                {objects.map((it) => (
                  <li key={it.object.key}>
                    <b>{it.object.key}</b>
                    <span className="faint">{it.object.name}</span>
                    {it.object.external && <Badge tone="none">{t('not its own')}</Badge>}
                  </li>
                ))}
              </ul>
            </section>
          )
        })}
      </div>
    </div>
  )
}

/** The instances of all its services, and the ports that lead to them. */
function Own({ app, own }: { app: App; own: readonly Instance[] }) {
  return (
    <section className="card">
      <h2>{t('Instances')}</h2>
      {own.length === 0 && <p className="faint">{app.status?.phase === 'ready' ? t('None at the moment.') : t('None yet.')}</p>}
      <ul className="timeline" style={{ maxHeight: 320, overflow: 'auto' }}>
        {own.slice(0, 200).map((it) => (
          <li key={it.meta.id} style={{ alignItems: 'center' }}>
            <div className="grow">
              <Link to="/instances/$project/$name" params={{ project: it.meta.project, name: it.meta.name }}>
                {it.meta.name}
              </Link>
              {it.status?.reason && <div className="faint">{it.status.reason.message}</div>}
            </div>
            <InstanceState instance={it} />
          </li>
        ))}
      </ul>
    </section>
  )
}

/** Its template in the version that it is of. */
function useTemplate(app: App): TemplateDetail | undefined {
  const origin = app.spec.origin
  const { data } = useQuery({
    queryKey: ['template', app.meta.project, origin?.catalog, origin?.template, origin?.version],
    queryFn: ({ signal }) => getTemplate(app.meta.project, origin?.catalog ?? '', origin?.template ?? '', origin?.version, signal),
    enabled: Boolean(origin),
    staleTime: 60_000,
    retry: false,
  })
  return data
}

/** The address that its template says is opened, once it is ready. */
function OpenLink({ app, detail }: { app: App; detail?: TemplateDetail }) {
  const version = detail?.template.versions?.find((it) => it.version === detail.version)
  const address = version && openAddress(version, app.spec.origin?.answers ?? {}, location.hostname)
  if (!address || app.status?.phase !== 'ready') return null
  return (
    <a className="button primary" href={address} target="_blank" rel="noreferrer" title={address}>
      <ExternalLink aria-hidden />
      {t('Open')}
    </a>
  )
}

const serviceTone = (it: Schemas['AppServiceStatus']): Tone => (it.ready ? 'good' : it.reason ? 'warn' : 'busy')

/** What its services wait for, and which networks they are on. */
function AppGraph({ app }: { app: App }) {
  const { project, name } = app.meta
  const wanted = app.spec.objects?.services ?? []
  const networks = app.spec.objects?.networks ?? []
  if (wanted.length === 0) return null
  const named = new Map(wanted.flatMap((it) => [[it.object.name, it.object.key], [it.object.key, it.object.key]]))
  const network = new Map(networks.flatMap((it) => [[it.object.name, it.object.key], [it.object.key, it.object.key]]))
  const states = new Map((app.status?.services ?? []).map((it) => [it.key, it]))
  const boxes: GraphBox[] = [
    ...wanted.map((it): GraphBox => {
      const state = states.get(it.object.key)
      return {
        id: `service ${it.object.key}`,
        title: it.object.key,
        about: state && t('{ready} of {wanted} ready', { ready: state.readyInstances, wanted: state.wantedInstances }),
        tone: state && serviceTone(state),
        open: (label, inside) => (
          <Link to="/services/$project/$name" params={{ project, name: it.object.name }} aria-label={label}>
            {inside}
          </Link>
        ),
      }
    }),
    ...networks.map((it): GraphBox => ({ id: `network ${it.object.key}`, title: it.object.key, about: it.object.external ? t('network, not its own') : t('network'), last: true })),
  ]
  const edges: GraphEdge[] = wanted.flatMap(({ object, spec }) => {
    const from = `service ${object.key}`
    const mode = spec.template?.spec.network ?? {}
    return [
      ...(spec.dependsOn ?? []).map((it) => ({ from, to: `service ${named.get(it.service) ?? it.service}`, says: t('waits for') })),
      ...('attachments' in mode ? (mode.attachments ?? []) : []).map((it) => ({ from, to: `network ${network.get(it.network ?? '') ?? it.network}`, says: t('on network'), dashed: true })),
    ]
  })
  return (
    <section className="card">
      <h2>{t('How it hangs together')}</h2>
      <Graph label={t('Services of {name}, what they wait for and their networks', { name })} boxes={boxes} edges={edges} />
    </section>
  )
}

function Services({ app }: { app: App }) {
  const all = app.status?.services ?? []
  const { project, name } = app.meta
  const scale = (key: string, to: number) => attempt(() => deploy(project, name, 'scale', { services: { [key]: to } }, false))
  if (all.length === 0) return null
  return (
    <section className="card">
      <h2>{t('Services')}</h2>
      <ul className="timeline">
        {all.map((it) => (
          <li key={it.key} style={{ alignItems: 'center' }}>
            <div className="grow">
              <Link to="/services/$project/$name" params={{ project, name: it.name }}>
                <b>{it.key}</b>
              </Link>
              {it.reason && <div className="faint">{it.reason.message}</div>}
            </div>
            <Badge tone={serviceTone(it)}>{`${it.readyInstances} / ${it.wantedInstances}`}</Badge>
            <button className="button small icon" aria-label={t('One less of {name}', { name: it.key })} disabled={it.wantedInstances === 0} onClick={() => void scale(it.key, it.wantedInstances - 1)}>
              <Minus aria-hidden />
            </button>
            <button className="button small icon" aria-label={t('One more of {name}', { name: it.key })} onClick={() => void scale(it.key, it.wantedInstances + 1)}>
              <Plus aria-hidden />
            </button>
          </li>
        ))}
      </ul>
    </section>
  )
}

function History({ app }: { app: App }) {
  const [asked, ask] = useState<number>()
  const [compared, compare] = useState<number>()
  const { project, name } = app.meta
  const revisions = [...(app.status?.revisions ?? [])].reverse()
  return (
    <div className="card">
      <ul className="timeline">
        {revisions.map((it) => (
          <li key={it.number} className="wraps" style={{ alignItems: 'center' }}>
            <b style={{ width: '5ch' }}>{it.number}</b>
            <div className="grow" style={{ overflowWrap: 'anywhere' }}>
              <span className="mono">{it.what}</span>
              {it.version && !it.what?.endsWith(` ${it.version}`) && <span className="faint"> {t('of version {version}', { version: it.version })}</span>}
              <span className="faint">
                {' '}
                · {it.by} · <Age time={it.made} />
              </span>
            </div>
            {it.failed && <Badge tone="bad">{t('failed')}</Badge>}
            {it.number === app.spec.revision ? (
              <Badge tone="good">{t('in force')}</Badge>
            ) : (
              <>
                <button className="button small" aria-pressed={compared === it.number} aria-label={t('What differs between revision {n} and now', { n: it.number })} onClick={() => compare(compared === it.number ? undefined : it.number)}>
                  <FileDiff aria-hidden />
                  {t('What differs')}
                </button>
                <button className="button small" onClick={() => ask(it.number)}>
                  <RotateCcw aria-hidden />
                  {t('Go back to it')}
                </button>
              </>
            )}
            {compared === it.number && <Differs app={app} revision={it.number} />}
          </li>
        ))}
      </ul>
      {asked !== undefined && (
        <PlanDialog
          title={t('Go back to revision {n}?', { n: asked })}
          verb={t('Roll back')}
          close={() => ask(undefined)}
          ask={(plan) => deploy(project, name, 'rollback', { revision: asked }, plan)}
          done={() => tell(t('Changed'))}
        />
      )}
    </div>
  )
}

/** What going back to a revision would do: the same that made it differ, the other way round. */
function Differs({ app, revision }: { app: App; revision: number }) {
  const { project, name, revision: seen } = app.meta
  const { data, error } = useQuery({
    queryKey: ['differs', app.meta.id, app.spec.revision, seen, revision],
    queryFn: () => deploy(project, name, 'rollback', { revision }, true),
    retry: false,
  })
  return (
    <div style={{ flexBasis: '100%', paddingLeft: '6ch' }}>
      {error ? <ProblemNote error={error} /> : data ? <Changes deployed={data} /> : <Loading />}
    </div>
  )
}

function Files({ app }: { app: App }) {
  const { project, name } = app.meta
  const { data, error } = useQuery({ queryKey: ['files', app.meta.id, app.spec.revision], queryFn: ({ signal }) => get<AppFiles>(`${appPath(project, name)}/files`, {}, signal) })
  const [edited, setEdited] = useState<Record<string, string>>({})
  const [planning, setPlanning] = useState(false)
  if (error) return <ProblemNote error={error} />
  if (!data) return <Loading />
  const fixed = Boolean(app.spec.origin)
  const sent = data.files ?? []
  const files = sent.map((it) => ({ path: it.path, data: edited[it.path] === undefined ? it.data : encode(edited[it.path]) }))
  const up = (plan: boolean): Promise<Deployed> => deploy(project, name, 'up', { files: { ...data, files } }, plan)
  return (
    <div className="stack">
      {fixed && <p className="faint">{t('The files come from its template: change its answers or version instead.')}</p>}
      {sent.map((it) => (
        <section key={it.path} className="card stack" style={{ gap: 8 }}>
          <h3 className="mono">{it.path}</h3>
          <textarea className="area" rows={Math.min(30, decode(it.data ?? '').split('\n').length + 1)} readOnly={fixed} aria-label={it.path} spellCheck={false} value={edited[it.path] ?? decode(it.data ?? '')} onChange={(event) => setEdited({ ...edited, [it.path]: event.target.value })} />
        </section>
      ))}
      {!fixed && (
        <div>
          <button className="button primary" disabled={Object.keys(edited).length === 0} onClick={() => setPlanning(true)}>
            {t('See what it does')}
          </button>
        </div>
      )}
      {planning && <PlanDialog title={t('Change {name}', { name })} verb={t('Apply')} close={() => setPlanning(false)} ask={up} done={() => tell(t('Changed'))} />}
    </div>
  )
}
