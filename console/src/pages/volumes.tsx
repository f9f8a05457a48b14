import { Link } from '@tanstack/react-router'
import { Camera, Expand, HardDrive, Plus, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { useCollection } from '../api/collection'
import { patch, post, remove } from '../api/http'
import { collectionPath, instances, objectPath, snapshots, volumes, type Snapshot, type Volume } from '../api/objects'
import { formatBytes, t, type Word } from '../i18n'
import { ActionMenu, FormDialog } from '../ui/dialog'
import { Age, Badge, Command, Empty, Head, Loading, ProblemNote, ReasonNote, TextField } from '../ui/parts'
import { inProject, projectForNew, useProject } from '../ui/project'
import { Table, type Column } from '../ui/table'

type Asked = { verb: 'create' } | { verb: 'remove' | 'snapshot' | 'grow'; volume: Volume } | { verb: 'unsnap' | 'restore'; snapshot: Snapshot }

const tone = (phase?: string) => (phase === 'ready' ? 'good' : phase === 'failed' ? 'bad' : 'busy')

export function Volumes() {
  const { items, complete, problem } = useCollection(volumes)
  const taken = useCollection(snapshots).items
  const all = useCollection(instances).items
  const project = useProject()
  const own = inProject(items, project)
  const kept = inProject(taken, project)
  const [asked, ask] = useState<Asked>()
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  const create = (
    <button className="button primary" onClick={() => ask({ verb: 'create' })}>
      <Plus aria-hidden />
      {t('Create a volume')}
    </button>
  )
  const users = (volume: Volume) => all.filter((it) => it.meta.project === volume.meta.project && it.spec.containers?.some((one) => (one.mounts ?? []).some((mount) => mount.type === 'volume' && mount.name === volume.meta.name)))
  const columns: Column<Volume>[] = [
    { key: 'name', title: t('Name'), width: 'minmax(140px, 2fr)', lead: true, cell: (it) => <b title={it.meta.name}>{it.spec.anonymous ? it.meta.name.slice(0, 12) : it.meta.name}</b> },
    { key: 'state', title: t('State'), width: '110px', cell: (it) => <Badge tone={tone(it.status?.phase)}>{t((it.status?.phase ?? 'pending') as Word)}</Badge> },
    { key: 'size', title: t('Size'), width: '100px', label: true, cell: (it) => (it.status?.size ? formatBytes(it.status.size) : t('no limit')) },
    {
      key: 'users',
      title: t('Used by'),
      width: 'minmax(110px, 2fr)',
      cell: (it) =>
        users(it).map((one, i) => (
          <span key={one.meta.id}>
            {i > 0 && ', '}
            <Link to="/instances/$project/$name" params={{ project: one.meta.project, name: one.meta.name }}>
              {one.meta.name}
            </Link>
          </span>
        )),
    },
    { key: 'storage', title: t('Storage'), width: '90px', cell: (it) => it.spec.storage || 'local' },
    { key: 'project', title: t('Project'), width: '100px', cell: (it) => <span className="faint">{it.meta.project}</span> },
    { key: 'age', title: t('Age'), width: '70px', cell: (it) => <Age time={it.meta.created} /> },
    {
      key: 'do',
      title: '',
      width: '34px',
      tail: true,
      cell: (it) => (
        <ActionMenu
          label={t('Actions for {name}', { name: it.meta.name })}
          actions={[
            { title: t('Take a snapshot'), icon: Camera, act: () => ask({ verb: 'snapshot', volume: it }) },
            { title: t('Grow'), icon: Expand, act: () => ask({ verb: 'grow', volume: it }) },
            'line',
            { title: t('Remove'), icon: Trash2, danger: true, act: () => ask({ verb: 'remove', volume: it }) },
          ]}
        />
      ),
    },
  ]
  const ofSnapshots: Column<Snapshot>[] = [
    { key: 'name', title: t('Name'), width: 'minmax(140px, 2fr)', lead: true, cell: (it) => <b>{it.meta.name}</b> },
    { key: 'state', title: t('State'), width: '110px', cell: (it) => <Badge tone={tone(it.status?.phase)}>{t((it.status?.phase ?? 'pending') as Word)}</Badge> },
    { key: 'volume', title: t('Volume'), width: 'minmax(100px, 2fr)', label: true, cell: (it) => it.spec.volume },
    { key: 'size', title: t('Size'), width: '100px', cell: (it) => (it.status?.size ? formatBytes(it.status.size) : '') },
    { key: 'age', title: t('Age'), width: '70px', cell: (it) => <Age time={it.meta.created} /> },
    {
      key: 'do',
      title: '',
      width: '34px',
      tail: true,
      cell: (it) => (
        <ActionMenu
          label={t('Actions for {name}', { name: it.meta.name })}
          actions={[
            { title: t('Make a volume of it'), icon: Plus, act: () => ask({ verb: 'restore', snapshot: it }) },
            'line',
            { title: t('Remove'), icon: Trash2, danger: true, act: () => ask({ verb: 'unsnap', snapshot: it }) },
          ]}
        />
      ),
    },
  ]
  return (
    <div className="page">
      <Head title={t('Volumes')}>{own.length > 0 && <div className="actions">{create}</div>}</Head>
      {own.map((it) => it.status?.reason && <ReasonNote key={it.meta.id} reason={{ ...it.status.reason, message: `${it.meta.name}: ${it.status.reason.message}` }} waiting={it.status.phase === 'pending'} />)}
      {own.length === 0 ? (
        <Empty
          icon={HardDrive}
          title={t('No volumes yet')}
          action={
            <>
              {create}
              <Command text="hull run -d -v data:/var/lib/postgresql/data postgres" />
            </>
          }
        >
          {t('A volume keeps data when its instance goes. Name one where you create an instance and it is made, or make it here first.')}
        </Empty>
      ) : (
        <Table label={t('Volumes')} items={own} columns={columns} id={(it) => it.meta.id} />
      )}
      {kept.length > 0 && (
        <>
          <h2 style={{ margin: '8px 0 0' }}>{t('Snapshots')}</h2>
          <Table label={t('Snapshots')} items={kept} columns={ofSnapshots} id={(it) => it.meta.id} />
        </>
      )}
      {asked && <Ask key={JSON.stringify(asked)} asked={asked} close={() => ask(undefined)} />}
    </div>
  )
}

function Ask({ asked, close }: { asked: Asked; close: () => void }) {
  const [name, setName] = useState('')
  const [size, setSize] = useState('')
  switch (asked.verb) {
    case 'create':
      return (
        <FormDialog open close={close} title={t('Create a volume')} verb={t('Create')} ready={name.trim() !== ''} act={() => post(collectionPath(projectForNew(), 'volumes'), { meta: { name: name.trim() }, spec: size ? { size } : {} })}>
          <TextField label={t('Name')} value={name} set={setName} autoFocus required />
          <TextField label={t('Size')} value={size} set={setSize} placeholder="10g" hint={t('As much as the disk has when empty.')} />
          <Command text={['hull volume create', size && `--size ${size}`, name || 'NAME'].filter(Boolean).join(' ')} />
        </FormDialog>
      )
    case 'snapshot':
      return (
        <FormDialog open close={close} title={t('Take a snapshot of {name}', { name: asked.volume.meta.name })} verb={t('Take a snapshot')} ready={name.trim() !== ''} act={() => post(collectionPath(asked.volume.meta.project, 'snapshots'), { meta: { name: name.trim() }, spec: { volume: asked.volume.meta.name } })}>
          <TextField label={t('Name')} value={name} set={setName} autoFocus required />
        </FormDialog>
      )
    case 'grow':
      return (
        <FormDialog open close={close} title={t('Grow {name}', { name: asked.volume.meta.name })} verb={t('Grow')} ready={size.trim() !== ''} act={() => patch(objectPath(asked.volume.meta, 'volumes'), { spec: { size } })}>
          <TextField label={t('Size')} value={size} set={setSize} placeholder="20g" autoFocus hint={t('A volume can grow and not shrink.')} />
        </FormDialog>
      )
    case 'restore':
      return (
        <FormDialog open close={close} title={t('Make a volume of {name}', { name: asked.snapshot.meta.name })} verb={t('Create')} ready={name.trim() !== ''} act={() => post(collectionPath(asked.snapshot.meta.project, 'volumes'), { meta: { name: name.trim() }, spec: { source: { snapshot: asked.snapshot.meta.name } } })}>
          <TextField label={t('Name of the new volume')} value={name} set={setName} autoFocus required />
        </FormDialog>
      )
    case 'remove':
      return (
        <FormDialog open close={close} danger title={t('Remove {name}?', { name: asked.volume.meta.name })} verb={t('Remove')} act={() => remove(objectPath(asked.volume.meta, 'volumes'))}>
          <p>{t('What it holds is lost.')}</p>
          <Command text={`hull volume rm ${asked.volume.meta.name}`} />
        </FormDialog>
      )
    case 'unsnap':
      return (
        <FormDialog open close={close} danger title={t('Remove {name}?', { name: asked.snapshot.meta.name })} verb={t('Remove')} act={() => remove(objectPath(asked.snapshot.meta, 'snapshots'))}>
          <p>{t('Volumes made of it stay as they are.')}</p>
        </FormDialog>
      )
  }
}
