// Installed sets of services, networks and volumes, from Compose files or a template.

import { Link, useNavigate } from '@tanstack/react-router'
import { LayoutGrid, Plus } from 'lucide-react'
import { useState } from 'react'
import { deploy, encode } from '../api/apps'
import { useCollection } from '../api/collection'
import { apps, type App } from '../api/objects'
import { t, type Word } from '../i18n'
import { Dialog } from '../ui/dialog'
import { Age, Badge, Command, Empty, Head, Loading, ProblemNote, TextField, type Tone } from '../ui/parts'
import { PlanDialog } from '../ui/plan'
import { inProject, projectForNew, useProject } from '../ui/project'
import { Table, type Column } from '../ui/table'

const PHASES: Record<string, [Tone, Word]> = {
  pending: ['busy', 'pending'],
  deploying: ['busy', 'deploying'],
  ready: ['good', 'ready'],
  degraded: ['warn', 'degraded'],
  failed: ['bad', 'failed'],
  rollingBack: ['warn', 'rolling back'],
  rolledBack: ['warn', 'rolled back'],
  removing: ['busy', 'removing'],
}

export function AppState({ app }: { app: App }) {
  const [tone, word] = PHASES[app.meta.deleted ? 'removing' : (app.status?.phase ?? 'pending')] ?? ['none', 'pending']
  return <Badge tone={tone}>{t(word)}</Badge>
}

export function Apps() {
  const { items, complete, problem } = useCollection(apps)
  const project = useProject()
  const own = inProject(items, project)
  const [adding, setAdding] = useState(false)
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  const add = (
    <>
      <Link to="/catalog" className="button primary">
        {t('Choose from the catalog')}
      </Link>
      <button className="button" onClick={() => setAdding(true)}>
        <Plus aria-hidden />
        {t('From a Compose file')}
      </button>
    </>
  )
  const columns: Column<App>[] = [
    {
      key: 'name',
      title: t('Name'),
      width: 'minmax(140px, 2fr)',
      lead: true,
      cell: (it) => (
        <Link className="name" to="/apps/$project/$name" params={{ project: it.meta.project, name: it.meta.name }}>
          {it.meta.name}
        </Link>
      ),
    },
    { key: 'state', title: t('State'), width: '120px', cell: (it) => <AppState app={it} /> },
    { key: 'ready', title: t('Services ready'), width: '120px', label: true, cell: (it) => `${it.status?.ready ?? 0} / ${it.status?.services?.length ?? 0}` },
    { key: 'from', title: t('From'), width: 'minmax(120px, 2fr)', cell: (it) => (it.spec.origin ? `${it.spec.origin.template} ${it.spec.origin.version}` : t('a Compose file')) },
    { key: 'revision', title: t('Revision'), width: '90px', label: true, cell: (it) => it.spec.revision },
    { key: 'project', title: t('Project'), width: '100px', cell: (it) => <span className="faint">{it.meta.project}</span> },
    { key: 'age', title: t('Age'), width: '70px', cell: (it) => <Age time={it.meta.created} /> },
  ]
  return (
    <div className="page">
      <Head title={t('Apps')}>{own.length > 0 && <div className="actions">{add}</div>}</Head>
      {own.length === 0 ? (
        <Empty
          icon={LayoutGrid}
          title={t('No apps yet')}
          action={
            <>
              <span className="row wrap" style={{ justifyContent: 'center' }}>
                {add}
              </span>
              <Command text="hull app up -f compose.yaml" />
            </>
          }
        >
          {t('An app is a set of services, networks and volumes that is installed, changed and taken back as one.')}
        </Empty>
      ) : (
        <Table label={t('Apps')} items={own} columns={columns} id={(it) => it.meta.id} />
      )}
      {adding && <FromCompose close={() => setAdding(false)} />}
    </div>
  )
}

const EXAMPLE = `services:
  web:
    image: nginx
    ports: ["8080:80"]
`

function FromCompose({ close }: { close: () => void }) {
  const navigate = useNavigate()
  const [name, setName] = useState('')
  const [text, setText] = useState(EXAMPLE)
  const [planning, setPlanning] = useState(false)
  const project = projectForNew()
  const body = { files: { files: [{ path: 'compose.yaml', data: encode(text) }], main: ['compose.yaml'] } }
  if (planning) {
    return (
      <PlanDialog
        title={t('Install {name}', { name })}
        verb={t('Install')}
        close={() => setPlanning(false)}
        ask={(plan) => deploy(project, name, 'up', body, plan)}
        done={() => void navigate({ to: '/apps/$project/$name', params: { project, name } })}
      />
    )
  }
  return (
    <Dialog open close={close} title={t('From a Compose file')} wide>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault()
          setPlanning(true)
        }}
      >
        <TextField label={t('Name')} value={name} set={setName} autoFocus required />
        <TextField label={t('Compose file')} value={text} set={setText} rows={16} />
        <Command text={`hull app up -f compose.yaml --name ${name || 'NAME'}`} />
        <div className="ends">
          <button type="button" className="button" onClick={close}>
            {t('Cancel')}
          </button>
          <button className="button primary" disabled={!/^[a-z0-9][a-z0-9_.-]*$/.test(name)}>
            {t('See what it does')}
          </button>
        </div>
      </form>
    </Dialog>
  )
}
