// Secrets and configs: files that instances are given. A secret's value is never shown again.

import { FileLock2, Plus, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { decode, encode } from '../api/apps'
import { useCollection } from '../api/collection'
import { post, remove } from '../api/http'
import { collectionPath, configs, objectPath, secrets, type Config, type Secret } from '../api/objects'
import { formatBytes, t } from '../i18n'
import { ActionMenu, Dialog, FormDialog } from '../ui/dialog'
import { Age, Badge, Choices, Command, Empty, Head, Loading, ProblemNote, TextField } from '../ui/parts'
import { inProject, projectForNew, useProject } from '../ui/project'
import { Table, type Column } from '../ui/table'

type Either = Secret | Config
type Noun = 'secret' | 'config'

const nounOf = (it: Either): Noun => (it.kind === 'secret' ? 'secret' : 'config')

export function Secrets() {
  const hidden = useCollection(secrets)
  const shown = useCollection(configs)
  const project = useProject()
  const [creating, setCreating] = useState(false)
  const [removing, setRemoving] = useState<Either>()
  const [reading, setReading] = useState<Config>()
  if (!hidden.complete || !shown.complete) {
    const problem = hidden.problem ?? shown.problem
    return problem ? <ProblemNote error={problem} /> : <Loading />
  }
  const own: readonly Either[] = inProject<Either>([...hidden.items, ...shown.items], project)
  const create = (
    <button className="button primary" onClick={() => setCreating(true)}>
      <Plus aria-hidden />
      {t('Create a secret or config')}
    </button>
  )
  const columns: Column<Either>[] = [
    {
      key: 'name',
      title: t('Name'),
      width: 'minmax(140px, 2fr)',
      lead: true,
      cell: (it) =>
        it.kind === 'config' ? (
          <button className="button plain small" style={{ padding: 0, fontWeight: 600 }} onClick={() => setReading(it)}>
            {it.meta.name}
          </button>
        ) : (
          <b>{it.meta.name}</b>
        ),
    },
    { key: 'kind', title: t('Kind'), width: '110px', cell: (it) => <Badge tone="none">{t(nounOf(it))}</Badge> },
    { key: 'size', title: t('Size'), width: '90px', label: true, cell: (it) => formatBytes(it.kind === 'secret' ? it.spec.size : decode(it.spec.data ?? '').length) },
    { key: 'users', title: t('Used by'), width: 'minmax(110px, 2fr)', label: true, cell: (it) => (it.status?.usedBy ?? []).join(', ') },
    { key: 'project', title: t('Project'), width: '100px', cell: (it) => <span className="faint">{it.meta.project}</span> },
    { key: 'age', title: t('Age'), width: '70px', cell: (it) => <Age time={it.meta.created} /> },
    { key: 'do', title: '', width: '34px', tail: true, cell: (it) => <ActionMenu label={t('Actions for {name}', { name: it.meta.name })} actions={[{ title: t('Remove'), icon: Trash2, danger: true, act: () => setRemoving(it) }]} /> },
  ]
  return (
    <div className="page">
      <Head title={t('Secrets and configs')}>{own.length > 0 && <div className="actions">{create}</div>}</Head>
      {own.length === 0 ? (
        <Empty icon={FileLock2} title={t('No secrets or configs yet')} action={create}>
          {t('Both are files that instances are given. A secret is kept sealed and its value is never shown again; a config can be read.')}
        </Empty>
      ) : (
        <Table label={t('Secrets and configs')} items={own} columns={columns} id={(it) => it.meta.id} />
      )}
      {creating && <CreateDialog close={() => setCreating(false)} />}
      <FormDialog open={removing !== undefined} close={() => setRemoving(undefined)} danger title={t('Remove {name}?', { name: removing?.meta.name ?? '' })} verb={t('Remove')} act={async () => removing && remove(objectPath(removing.meta, `${nounOf(removing)}s`))}>
        <p>{t('It can go when no instance uses it.')}</p>
        <Command text={`hull ${removing ? nounOf(removing) : ''} rm ${removing?.meta.name}`} />
      </FormDialog>
      <Dialog open={reading !== undefined} close={() => setReading(undefined)} title={reading?.meta.name ?? ''} wide>
        <pre className="card" style={{ overflow: 'auto', margin: 0, maxHeight: '60vh' }} tabIndex={0} aria-label={reading?.meta.name}>
          {reading && decode(reading.spec.data ?? '')}
        </pre>
      </Dialog>
    </div>
  )
}

function CreateDialog({ close }: { close: () => void }) {
  const [noun, setNoun] = useState<Noun>('secret')
  const [name, setName] = useState('')
  const [value, setValue] = useState('')
  return (
    <FormDialog open close={close} title={t('Create a secret or config')} verb={t('Create')} ready={name.trim() !== '' && value !== ''} act={() => post(collectionPath(projectForNew(), `${noun}s`), { meta: { name: name.trim() }, spec: { data: encode(value) } })}>
      <Choices label={t('Kind')} value={noun} set={setNoun} options={[['secret', t('secret')], ['config', t('config')]]} />
      <TextField label={t('Name')} value={name} set={setName} autoFocus required />
      {noun === 'secret' ? <TextField label={t('Value')} value={value} set={setValue} type="password" hint={t('It is never shown again, and does not change: a new value is a new secret.')} /> : <TextField label={t('Value')} value={value} set={setValue} rows={10} />}
      <Command text={`hull ${noun} create ${name || 'NAME'} ${noun === 'secret' ? '-' : 'FILE'}`} />
    </FormDialog>
  )
}
