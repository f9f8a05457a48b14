// One template: what it is, what it asks, what installing it would do. With `app` in the address it changes
// an app that is installed.

import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { deploy } from '../api/apps'
import { useCollection, type Collection } from '../api/collection'
import { apps, secrets, services, type App, type Secret, type Service } from '../api/objects'
import { getTemplate, type Question, type TemplateDetail } from '../api/templates'
import { t } from '../i18n'
import { CheckField, Command, Field, Head, Loading, ProblemNote, SelectField, TextField } from '../ui/parts'
import { PlanDialog } from '../ui/plan'
import { projectForNew } from '../ui/project'
import { quoted } from './draft'

const Prose = lazy(() => import('../ui/markdown'))

type Answers = Record<string, string>

export function TemplatePage() {
  const { catalog, name } = useParams({ from: '/catalog/$catalog/$name' })
  const { app, version } = useSearch({ from: '/catalog/$catalog/$name' })
  const all = useCollection(apps)
  const installed = app ? all.items.find((it) => it.meta.name === app) : undefined
  const project = installed?.meta.project ?? projectForNew()
  const { data, error } = useQuery({
    queryKey: ['template', project, catalog, name, version ?? ''],
    queryFn: ({ signal }) => getTemplate(project, catalog, name, version, signal),
    staleTime: 60_000,
  })
  if (error) return <ProblemNote error={error} />
  if (!data || (app && !all.complete)) return <Loading />
  return <Form key={`${data.version} ${app ?? ''}`} detail={data} project={project} catalog={catalog} name={name} app={installed} />
}

interface FormProps {
  detail: TemplateDetail
  project: string
  catalog: string
  name: string
  app?: App
}

const isAsked = (question: Question, answers: Answers) => !question.hidden && (!question.when || (answers[question.when.variable] ?? '') === question.when.is)

function Form({ detail, project, catalog, name, app }: FormProps) {
  const navigate = useNavigate()
  const { template } = detail
  const version = template.versions?.find((it) => it.version === detail.version)
  const versions = template.versions ?? []
  const questions = version?.questions ?? []
  const before = app?.spec.origin?.answers ?? {}
  const [appName, setAppName] = useState(app?.meta.name ?? name)
  const [answers, setAnswers] = useState<Answers>(() => Object.fromEntries(questions.map((it) => [it.variable, before[it.variable] ?? it.default ?? ''])))
  const [planning, setPlanning] = useState(false)
  const [touched, setTouched] = useState<Record<string, true>>({})
  const set = (variable: string) => (value: string) => {
    setAnswers((old) => ({ ...old, [variable]: value }))
    setTouched((old) => ({ ...old, [variable]: true }))
  }
  const asked = questions.filter((it) => isAsked(it, answers))
  const secretBefore = new Set(app?.spec.origin?.secretAnswers ?? [])
  const absent = asked.filter((it) => it.required && !answers[it.variable] && !it.generate && !secretBefore.has(it.variable))
  const given = Object.fromEntries(asked.filter((it) => touched[it.variable] && answers[it.variable] !== '').map((it) => [it.variable, answers[it.variable]]))
  const groups = [...new Set(asked.map((it) => it.group ?? ''))]
  const send = (plan: boolean) =>
    app
      ? deploy(project, app.meta.name, 'upgrade-template', { version: detail.version, answers: given }, plan)
      : deploy(project, appName, 'install', { catalog, template: name, version: detail.version, answers: given }, plan)
  const open = questions.some((it) => it.kind === 'password' && given[it.variable])
  const words = Object.entries(given).filter(([key]) => questions.find((it) => it.variable === key)?.kind !== 'password').map(([key, value]) => `--set ${quoted(`${key}=${value}`)}`)
  const command = app ? `hull catalog upgrade ${app.meta.name} --version ${detail.version} ${words.join(' ')}` : `hull catalog install ${catalog}/${name} --name ${appName} ${words.join(' ')}`
  return (
    <form
      className="page"
      style={{ maxWidth: 980 }}
      onSubmit={(event) => {
        event.preventDefault()
        setPlanning(true)
      }}
    >
      <Head crumb={<Link to="/catalog">{t('Catalog')}</Link>} title={template.title || name}>
        {versions.length > 1 && (
          <select className="select" aria-label={t('Version')} value={detail.version} onChange={(event) => void navigate({ to: '/catalog/$catalog/$name', params: { catalog, name }, search: { app: app?.meta.name, version: event.target.value }, replace: true })}>
            {[...versions].reverse().map((it) => (
              <option key={it.version} value={it.version} disabled={Boolean(it.problem)}>
                {it.version}
              </option>
            ))}
          </select>
        )}
      </Head>
      <p className="faint" style={{ margin: 0 }}>
        {template.summary}
      </p>
      {version?.problem && <ProblemNote error={new Error(version.problem)} />}
      <section className="card stack">
        <TextField label={t('Name of the app')} value={appName} set={app ? () => undefined : setAppName} required />
        {groups.map((group) => (
          <fieldset key={group} style={{ border: 0, margin: 0, padding: 0 }} className="stack">
            {group !== '' && <legend className="label">{group}</legend>}
            <div className="fields">
              {asked
                .filter((it) => (it.group ?? '') === group)
                .map((it) => (
                  <Ask key={it.variable} question={it} value={answers[it.variable] ?? ''} set={set(it.variable)} project={project} kept={secretBefore.has(it.variable)} />
                ))}
            </div>
          </fieldset>
        ))}
        {asked.length === 0 && <p className="faint">{t('It asks nothing.')}</p>}
      </section>
      {detail.readme && (
        <details className="card" open={!app}>
          <summary>README</summary>
          <Suspense fallback={<Loading />}>
            <Prose text={detail.readme} />
          </Suspense>
        </details>
      )}
      {Object.entries(detail.files ?? {}).map(([path, text]) => (
        <details key={path} className="card">
          <summary className="mono">{path}</summary>
          <pre style={{ overflow: 'auto' }} tabIndex={0}>
            {text}
          </pre>
        </details>
      ))}
      <div className="dock">
        <Command text={command.trim() + (open ? ' --answers answers.yaml' : '')} />
        <div className="row">
          <button className="button primary" disabled={absent.length > 0 || appName === '' || Boolean(version?.problem)}>
            {app ? t('See what changes') : t('Install')}
          </button>
          {absent.length > 0 && <span className="faint">{t('Still to be answered: {names}', { names: absent.map((it) => it.label || it.variable).join(', ') })}</span>}
        </div>
      </div>
      {planning && (
        <PlanDialog
          title={app ? t('Change {name}', { name: appName }) : t('Install {name}', { name: appName })}
          verb={app ? t('Apply') : t('Install')}
          close={() => setPlanning(false)}
          ask={send}
          done={() => void navigate({ to: '/apps/$project/$name', params: { project, name: appName } })}
        />
      )}
    </form>
  )
}

interface AskProps {
  question: Question
  value: string
  set: (value: string) => void
  project: string
  kept: boolean
}

function Ask({ question, value, set, project, kept }: AskProps) {
  const label = question.label || question.variable
  const made = question.generate ? t('Made for you when empty.') : ''
  const hint = [question.description, made, kept ? t('Stays as it is when empty.') : ''].filter(Boolean).join(' ') || undefined
  switch (question.kind) {
    case 'boolean':
      return <CheckField label={label} value={value === 'true'} set={(next) => set(String(next))} hint={hint} />
    case 'enum':
      return <SelectField label={label} value={value} set={set} hint={hint} options={(question.options ?? []).map((it) => [it.value, it.label || it.value] as const)} />
    case 'multiline':
    case 'multistring':
      return <TextField label={label} value={value} set={set} hint={hint} rows={4} />
    case 'int':
      return <TextField label={label} value={value} set={set} hint={hint} type="number" />
    case 'password':
      return <TextField label={label} value={value} set={set} hint={hint} type="password" />
    case 'service':
      return <Known label={label} value={value} set={set} hint={hint} from={services} project={project} />
    case 'secret':
    case 'certificate':
      return <Known label={label} value={value} set={set} hint={hint} from={secrets} project={project} />
    case 'string':
      return <TextField label={label} value={value} set={set} hint={hint} />
  }
}

/** Text, with what there is to choose from. */
function Known<T extends Secret | Service>({ label, value, set, hint, from, project }: { label: string; value: string; set: (value: string) => void; hint?: string; from: Collection<T>; project: string }) {
  const names = useCollection(from).items.filter((it) => it.meta.project === project).map((it) => it.meta.name)
  return (
    <Field label={label} hint={hint}>
      {(ids) => (
        <>
          <input {...ids} className="input" value={value} onChange={(event) => set(event.target.value)} list={`${ids.id}-names`} />
          <datalist id={`${ids.id}-names`}>
            {names.map((it) => (
              <option key={it} value={it} />
            ))}
          </datalist>
        </>
      )}
    </Field>
  )
}
