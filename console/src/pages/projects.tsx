import { Gauge, Plus, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { useCollection } from '../api/collection'
import { post, remove } from '../api/http'
import { instances, networks, objectPath, projects, services, volumes, type Project } from '../api/objects'
import { t } from '../i18n'
import { ActionMenu, FormDialog } from '../ui/dialog'
import { Age, Command, Head, Loading, ProblemNote, TextField } from '../ui/parts'
import { chooseProject } from '../ui/project'
import { Table, type Column } from '../ui/table'
import { QuotaDialog, QuotaUse } from './quota'

export function Projects() {
  const { items, complete, problem } = useCollection(projects)
  const held = [useCollection(instances).items, useCollection(services).items, useCollection(volumes).items, useCollection(networks).items]
  const [creating, setCreating] = useState(false)
  const [removing, setRemoving] = useState<Project>()
  const [bounding, setBounding] = useState<Project>()
  const [name, setName] = useState('')
  const [description, setDescription] = useState('')
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  const count = (of: number, project: Project) => held[of].filter((it) => it.meta.project === project.meta.name).length
  const columns: Column<Project>[] = [
    {
      key: 'name',
      title: t('Name'),
      width: 'minmax(120px, 1fr)',
      lead: true,
      cell: (it) => (
        <button className="button plain small" style={{ padding: 0, fontWeight: 600 }} onClick={() => chooseProject(it.meta.name)} title={t('Show only this project')}>
          {it.meta.name}
        </button>
      ),
    },
    { key: 'about', title: t('About'), width: 'minmax(140px, 2fr)', cell: (it) => it.spec.description },
    { key: 'quota', title: t('Quota'), width: 'minmax(160px, 2fr)', cell: (it) => <QuotaUse project={it} /> },
    { key: 'instances', title: t('Instances'), width: '90px', label: true, cell: (it) => count(0, it) },
    { key: 'services', title: t('Services'), width: '90px', label: true, cell: (it) => count(1, it) },
    { key: 'volumes', title: t('Volumes'), width: '90px', label: true, cell: (it) => count(2, it) },
    { key: 'networks', title: t('Networks'), width: '90px', label: true, cell: (it) => count(3, it) },
    { key: 'age', title: t('Age'), width: '70px', cell: (it) => <Age time={it.meta.created} /> },
    { key: 'do', title: '', width: '34px', tail: true, cell: (it) => <ActionMenu label={t('Actions for {name}', { name: it.meta.name })} actions={[{ title: t('Change the quota'), icon: Gauge, act: () => setBounding(it) }, 'line', { title: t('Remove'), icon: Trash2, danger: true, act: () => setRemoving(it) }]} /> },
  ]
  return (
    <div className="page">
      <Head title={t('Projects')}>
        <div className="actions">
          <button className="button primary" onClick={() => setCreating(true)}>
            <Plus aria-hidden />
            {t('Create a project')}
          </button>
        </div>
      </Head>
      <p className="faint" style={{ margin: 0 }}>
        {t('A project keeps instances, networks and volumes of one purpose together: names are its own, and so is its network.')}
      </p>
      <Table label={t('Projects')} items={items} columns={columns} id={(it) => it.meta.id} />
      <FormDialog open={creating} close={() => setCreating(false)} title={t('Create a project')} verb={t('Create')} ready={name.trim() !== ''} act={() => post('/v1/projects', { meta: { name: name.trim() }, spec: { description } })}>
        <TextField label={t('Name')} value={name} set={setName} autoFocus required />
        <TextField label={t('About')} value={description} set={setDescription} />
        <Command text={`hull project create ${name || 'NAME'}`} />
      </FormDialog>
      {bounding && <QuotaDialog key={bounding.meta.id} project={bounding} close={() => setBounding(undefined)} />}
      <FormDialog open={removing !== undefined} close={() => setRemoving(undefined)} danger title={t('Remove {name}?', { name: removing?.meta.name ?? '' })} verb={t('Remove')} act={async () => removing && remove(objectPath(removing.meta, 'projects'))}>
        <p>{t('It can go when nothing is in it.')}</p>
        <Command text={`hull project rm ${removing?.meta.name}`} />
      </FormDialog>
    </div>
  )
}
