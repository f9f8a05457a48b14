// Something new: a container or a machine, alone or as a service, by one form. What it comes to on the
// command line shows as one types.

import { useQuery } from '@tanstack/react-query'
import { useNavigate, useSearch } from '@tanstack/react-router'
import { useMemo, useState } from 'react'
import { useCollection } from '../api/collection'
import { get, post } from '../api/http'
import { collectionPath, networks, projects, type AnyObject, type Image } from '../api/objects'
import { Problem } from '../api/problem'
import { t } from '../i18n'
import { CheckField, Choices, Command, Head, ProblemNote, SelectField, TextField } from '../ui/parts'
import { projectForNew } from '../ui/project'
import { tell } from '../ui/toast'
import { check, commandLine, draft, EMPTY, type Form, type Restart } from './draft'

export function Create() {
  const search = useSearch({ from: '/create' })
  const navigate = useNavigate()
  const [form, setForm] = useState<Form>({ ...EMPTY, image: search.image ?? '', kind: search.kind ?? 'instance' })
  const [project, setProject] = useState(projectForNew())
  const [asMachine, setMachine] = useState(false)
  const [problem, setProblem] = useState<Problem>()
  const [busy, setBusy] = useState(false)
  const set = <K extends keyof Form>(key: K) => (value: Form[K]) => setForm((old) => ({ ...old, [key]: value }))
  const { data: known } = useQuery({ queryKey: ['images'], queryFn: ({ signal }) => get<Image[]>('/v1/images', {}, signal) })
  const names = useMemo(() => (known ?? []).flatMap((it) => it.names.map((name) => [shortName(name), Boolean(it.machine)] as const)), [known])
  const machine = asMachine || names.some(([name, isMachine]) => isMachine && name === shortName(form.image))
  const faults = check(form)
  const own = useCollection(networks).items.filter((it) => it.meta.project === project)
  const allProjects = useCollection(projects).items
  const ready = form.image.trim() !== '' && Object.keys(faults).length === 0
  const noun = form.kind === 'service' ? 'services' : 'instances'
  const submit = async () => {
    setBusy(true)
    setProblem(undefined)
    try {
      const made = await post<AnyObject>(collectionPath(project, noun), draft(form, machine))
      tell(t('Created {name}', { name: made.meta.name }))
      const params = { project, name: made.meta.name }
      await navigate(form.kind === 'service' ? { to: '/services/$project/$name', params } : { to: '/instances/$project/$name', params })
    } catch (error) {
      setProblem(Problem.from(error))
    } finally {
      setBusy(false)
    }
  }
  const wrong = (key: keyof Form) => (faults[key] === undefined ? undefined : t('This cannot be read: {text}', { text: faults[key] ?? '' }))
  return (
    <form
      className="page"
      style={{ maxWidth: 980 }}
      onSubmit={(event) => {
        event.preventDefault()
        void submit()
      }}
    >
      <Head title={t('Create')}>
        <Choices
          label={t('What is made')}
          value={form.kind}
          set={set('kind')}
          options={[
            ['instance', t('One instance')],
            ['service', t('A service')],
          ]}
        />
      </Head>
      <p className="faint" style={{ margin: 0 }}>
        {form.kind === 'service' ? t('A service keeps so many instances of an image running and changes them a few at a time.') : t('An image that carries a disk becomes a virtual machine, any other a container.')}
      </p>
      <section className="card stack">
        <div className="fields">
          <TextField label={t('Image')} value={form.image} set={set('image')} placeholder="nginx:1.27" list="images" required hint={machine ? t('This is a machine.') : t('From Docker Hub or any other registry, or one that is here.')} />
          <TextField label={t('Name')} value={form.name} set={set('name')} placeholder="web" hint={t('Others on its network find it by this name.')} />
          {form.kind === 'service' && <TextField label={t('Replicas')} value={form.replicas} set={set('replicas')} type="number" wrong={wrong('replicas')} />}
          {allProjects.length > 1 && <SelectField label={t('Project')} value={project} set={setProject} options={allProjects.map((it) => [it.meta.name, it.meta.name] as const)} />}
        </div>
        <datalist id="images">
          {names.map(([name]) => (
            <option key={name} value={name} />
          ))}
        </datalist>
        <TextField label={t('Command')} value={form.command} set={set('command')} placeholder="sh -c 'echo hello; sleep 60'" hint={t('What the image says when empty.')} />
        <div className="fields">
          <TextField label={t('Ports')} value={form.ports} set={set('ports')} rows={2} placeholder="8080:80" wrong={wrong('ports')} hint={t('One a line: port of the node, then port inside.')} />
          <TextField label={t('Environment')} value={form.env} set={set('env')} rows={2} placeholder="NAME=value" wrong={wrong('env')} hint={t('One a line.')} />
          <TextField label={t('Volumes')} value={form.volumes} set={set('volumes')} rows={2} placeholder="data:/var/lib/data" wrong={wrong('volumes')} hint={t('One a line: name of a volume or path of the node, then path inside.')} />
        </div>
      </section>
      <section className="card stack">
        <div className="fields">
          <TextField label={t('Processors')} value={form.cpus} set={set('cpus')} placeholder="0.5" wrong={wrong('cpus')} />
          <TextField label={t('Memory')} value={form.memory} set={set('memory')} placeholder="256m" wrong={wrong('memory')} />
          <SelectField label={t('Network')} value={form.network} set={set('network')} options={[['', t("The project's own")] as const, ...own.map((it) => [it.meta.name, it.meta.name] as const)]} />
          <SelectField<Restart>
            label={t('Starts again')}
            value={form.restart}
            set={set('restart')}
            options={[
              ['no', t('never')],
              ['onFailure', t('when it fails')],
              ['always', t('always')],
              ['unlessStopped', t('unless it was stopped')],
            ]}
          />
          <TextField label={t('Labels')} value={form.labels} set={set('labels')} rows={2} placeholder="app=shop" hint={t('One a line.')} />
        </div>
        <CheckField label={t('Settings of a machine')} value={machine} set={setMachine} />
        {machine && (
          <div className="fields">
            <TextField label={t('Root disk')} value={form.rootSize} set={set('rootSize')} placeholder="20g" wrong={wrong('rootSize')} />
            <TextField label={t('SSH keys')} value={form.sshKey} set={set('sshKey')} rows={3} placeholder="ssh-ed25519 …" hint={t('Public ones, that may log in.')} />
            <TextField label={t('First boot (cloud-init)')} value={form.userData} set={set('userData')} rows={3} placeholder="#cloud-config" />
          </div>
        )}
      </section>
      <div className="dock">
      <Command text={commandLine(form, machine, project)} />
      {problem && <ProblemNote error={problem} />}
      <div className="row">
        <button className="button primary" disabled={!ready || busy}>
          {form.kind === 'service' ? t('Create the service') : t('Create and start')}
        </button>
        {busy && (
          <span className="faint" role="status">
            {t('Working…')}
          </span>
        )}
      </div>
      </div>
    </form>
  )
}

/** As people write it. */
function shortName(name: string): string {
  return name.trim().replace(/^docker\.io\/(library\/)?/, '').replace(/:latest$/, '')
}
