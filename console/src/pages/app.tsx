// One app: its services and what they are made of, its history, its files.

import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { ArrowRight, LayoutGrid, Minus, Plus, RotateCcw, Trash2 } from 'lucide-react'
import { Tabs } from 'radix-ui'
import { useState } from 'react'
import { appPath, apps, decode, deploy, encode, type App, type AppFiles, type Deployed } from '../api/apps'
import { useCollection, useObject } from '../api/collection'
import { get, remove } from '../api/http'
import { instances } from '../api/objects'
import { t, type Word } from '../i18n'
import { FormDialog } from '../ui/dialog'
import { Age, Badge, CheckField, Command, Empty, Facts, Head, Loading, ProblemNote, ReasonNote } from '../ui/parts'
import { PlanDialog } from '../ui/plan'
import { attempt, tell } from '../ui/toast'
import { AppState } from './apps'
import { EventsOf } from './events'
import { Ports } from './instances'

type Tab = 'status' | 'history' | 'files' | 'events'
const TABS: [Tab, Word][] = [
  ['status', 'Status'],
  ['history', 'History'],
  ['files', 'Files'],
  ['events', 'Events'],
]

export function AppPage() {
  const { project, name } = useParams({ from: '/apps/$project/$name' })
  const { tab } = useSearch({ from: '/apps/$project/$name' })
  const navigate = useNavigate({ from: '/apps/$project/$name' })
  const app = useObject(apps, name, project)
  if (app === undefined) return <Loading />
  if (app === null) {
    return (
      <Empty icon={LayoutGrid} title={t('There is no app {name}', { name })} action={<Link to="/apps">{t('All apps')}</Link>}>
        {t('It was removed, or has another name now.')}
      </Empty>
    )
  }
  const current = TABS.find(([it]) => it === tab)?.[0] ?? 'status'
  return (
    <div className="page">
      <Title app={app} />
      {app.status?.reason && <ReasonNote reason={app.status.reason} waiting={['pending', 'deploying'].includes(app.status.phase)} />}
      <Tabs.Root value={current} onValueChange={(next) => void navigate({ search: { tab: next === 'status' ? undefined : next }, replace: true })}>
        <Tabs.List className="tabs" aria-label={t('About {name}', { name })}>
          {TABS.map(([it, word]) => (
            <Tabs.Trigger key={it} value={it}>
              {t(word)}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        <Tabs.Content value={current} className="panel" style={{ paddingTop: 14 }}>
          {current === 'status' && <StatusTab app={app} />}
          {current === 'history' && <History app={app} />}
          {current === 'files' && <Files key={app.spec.revision} app={app} />}
          {current === 'events' && <EventsOf object={app} />}
        </Tabs.Content>
      </Tabs.Root>
    </div>
  )
}

function Title({ app }: { app: App }) {
  const navigate = useNavigate()
  const [removing, setRemoving] = useState(false)
  const [volumes, setVolumes] = useState(false)
  const { name, project } = app.meta
  const origin = app.spec.origin
  return (
    <Head crumb={<Link to="/apps">{t('Apps')}</Link>} title={name}>
      <AppState app={app} />
      <div className="actions">
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
  const ports = own.flatMap((it) => it.spec.placement?.ports ?? [])
  return (
    <div className="stack">
      <Graph app={app} />
      <div className="cards">
        <section className="card">
          <h2>{t('What it is')}</h2>
          <Facts
            facts={[
              [t('From'), origin ? `${origin.catalog}/${origin.template} ${origin.version}` : t('a Compose file')],
              [t('Revision'), app.spec.revision],
              [t('Project'), project],
              [t('Open'), ports.length > 0 && <Ports ports={ports} />],
              ...Object.entries(origin?.answers ?? {}).map(([key, value]): [string, string] => [key, value]),
              ...(origin?.secretAnswers ?? []).map((key): [string, string] => [key, '••••••']),
            ]}
          />
        </section>
        {(['networks', 'volumes', 'secrets', 'configs'] as const).map((kind) => {
          const objects = app.spec.objects[kind] ?? []
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

/** Services in the order in which they are made, each with what it waits for. */
function Graph({ app }: { app: App }) {
  const services = app.status?.services ?? []
  const { project, name } = app.meta
  const wants = new Map((app.spec.objects.services ?? []).map((it) => [it.object.key, (it.spec.dependsOn ?? []).map((one) => one.service)]))
  const scale = (key: string, to: number) => attempt(() => deploy(project, name, 'scale', { services: { [key]: to } }, false))
  if (services.length === 0) return null
  return (
    <section className="card">
      <h2>{t('Services')}</h2>
      <div className="row wrap" style={{ alignItems: 'stretch', gap: 10 }}>
        {services.map((it, i) => (
          <div key={it.key} className="row" style={{ gap: 10 }}>
            {i > 0 && (wants.get(it.key) ?? []).length > 0 && <ArrowRight size={16} aria-hidden color="var(--faint)" />}
            <div className="card" style={{ padding: 12, minWidth: 190 }}>
              <div className="row">
                <Link className="grow" to="/services/$project/$name" params={{ project, name: it.name }}>
                  <b>{it.key}</b>
                </Link>
                <Badge tone={it.ready ? 'good' : it.reason ? 'warn' : 'busy'}>{`${it.readyInstances} / ${it.wantedInstances}`}</Badge>
              </div>
              {(wants.get(it.key) ?? []).length > 0 && <div className="faint">{t('after {names}', { names: (wants.get(it.key) ?? []).join(', ') })}</div>}
              {it.reason && <div className="faint">{it.reason.message}</div>}
              <div className="row" style={{ marginTop: 8 }}>
                <button className="button small icon" aria-label={t('One less of {name}', { name: it.key })} disabled={it.wantedInstances === 0} onClick={() => void scale(it.key, it.wantedInstances - 1)}>
                  <Minus aria-hidden />
                </button>
                <button className="button small icon" aria-label={t('One more of {name}', { name: it.key })} onClick={() => void scale(it.key, it.wantedInstances + 1)}>
                  <Plus aria-hidden />
                </button>
              </div>
            </div>
          </div>
        ))}
      </div>
    </section>
  )
}

function History({ app }: { app: App }) {
  const [asked, ask] = useState<number>()
  const { project, name } = app.meta
  const revisions = [...(app.status?.revisions ?? [])].reverse()
  return (
    <div className="card">
      <ul className="timeline">
        {revisions.map((it) => (
          <li key={it.number} style={{ alignItems: 'center' }}>
            <b style={{ width: '5ch' }}>{it.number}</b>
            <div className="grow" style={{ overflowWrap: 'anywhere' }}>
              <span className="mono">{it.what}</span>
              {it.version && <span className="faint"> {it.version}</span>}
              <span className="faint">
                {' '}
                · {it.by} · <Age time={it.made} />
              </span>
            </div>
            {it.failed && <Badge tone="bad">{t('failed')}</Badge>}
            {it.number === app.spec.revision ? (
              <Badge tone="good">{t('in force')}</Badge>
            ) : (
              <button className="button small" onClick={() => ask(it.number)}>
                <RotateCcw aria-hidden />
                {t('Go back to it')}
              </button>
            )}
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

function Files({ app }: { app: App }) {
  const { project, name } = app.meta
  const { data, error } = useQuery({ queryKey: ['files', app.meta.id, app.spec.revision], queryFn: ({ signal }) => get<AppFiles>(`${appPath(project, name)}/files`, {}, signal) })
  const [edited, setEdited] = useState<Record<string, string>>({})
  const [planning, setPlanning] = useState(false)
  if (error) return <ProblemNote error={error} />
  if (!data) return <Loading />
  const fixed = Boolean(app.spec.origin)
  const files = data.files.map((it) => ({ path: it.path, data: edited[it.path] === undefined ? it.data : encode(edited[it.path]) }))
  const up = (plan: boolean): Promise<Deployed> => deploy(project, name, 'up', { files: { ...data, files } }, plan)
  return (
    <div className="stack">
      {fixed && <p className="faint">{t('The files come from its template: change its answers or version instead.')}</p>}
      {data.files.map((it) => (
        <section key={it.path} className="card stack" style={{ gap: 8 }}>
          <h3 className="mono">{it.path}</h3>
          <textarea className="area" rows={Math.min(30, decode(it.data).split('\n').length + 1)} readOnly={fixed} aria-label={it.path} spellCheck={false} value={edited[it.path] ?? decode(it.data)} onChange={(event) => setEdited({ ...edited, [it.path]: event.target.value })} />
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
