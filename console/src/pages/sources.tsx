// Catalogs: where templates come from, when they were read, and which of them are broken.

import { Plus, RefreshCw, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { useCollection } from '../api/collection'
import { post, remove } from '../api/http'
import { catalogs, objectPath, type Catalog } from '../api/objects'
import type { CatalogSource, TemplateList } from '../api/templates'
import { t, type Word } from '../i18n'
import { ActionMenu, FormDialog } from '../ui/dialog'
import { Age, Badge, Choices, Command, ReasonNote, TextField } from '../ui/parts'
import { Table, type Column } from '../ui/table'
import { attempt } from '../ui/toast'
import { quoted } from './draft'

function fromWhere(source: CatalogSource): string {
  switch (source.from) {
    case 'builtIn':
      return t('comes with hull')
    case 'directory':
    case 'archive':
      return source.path
    case 'git':
      return [source.branch ? `${source.url} (${source.branch})` : source.url, source.keys && t('signed')].filter(Boolean).join(', ')
  }
}

export function Sources({ project, list }: { project: string; list: TemplateList }) {
  const { items } = useCollection(catalogs)
  const [adding, setAdding] = useState(false)
  const [removing, setRemoving] = useState<Catalog>()
  const refresh = (it: Catalog) => attempt(() => post(`${objectPath(it.meta, 'catalogs')}/refresh`), t('{name} is read again', { name: it.meta.name }))
  const actions = (it: Catalog) => {
    const again = { title: t('Read it again'), icon: RefreshCw, act: () => void refresh(it) }
    if (it.spec.source.from === 'builtIn') return [again]
    return [again, 'line' as const, { title: t('Remove'), icon: Trash2, danger: true, act: () => setRemoving(it) }]
  }
  const columns: Column<Catalog>[] = [
    { key: 'name', title: t('Name'), width: 'minmax(110px, 1fr)', lead: true, cell: (it) => <b>{it.meta.name}</b> },
    { key: 'from', title: t('From'), width: 'minmax(160px, 3fr)', cell: (it) => <span title={fromWhere(it.spec.source)}>{fromWhere(it.spec.source)}</span> },
    { key: 'templates', title: t('Templates'), width: '100px', label: true, cell: (it) => it.status?.templates ?? 0 },
    { key: 'broken', title: t('Broken'), width: '80px', label: true, cell: (it) => ((it.status?.broken ?? 0) > 0 ? <Badge tone="bad">{it.status?.broken}</Badge> : 0) },
    { key: 'read', title: t('Read'), width: '80px', label: true, cell: (it) => <Age time={it.status?.read} /> },
    { key: 'every', title: t('Again every'), width: '100px', label: true, cell: (it) => it.spec.every ?? <span className="faint">{t('when asked')}</span> },
    { key: 'projects', title: t('For'), width: '110px', label: true, cell: (it) => (it.spec.projects?.join(', ') || t('all projects')) },
    { key: 'do', title: '', width: '34px', tail: true, cell: (it) => <ActionMenu label={t('Actions for {name}', { name: it.meta.name })} actions={actions(it)} /> },
  ]
  return (
    <div className="stack">
      <div className="row wrap">
        <p className="faint grow" style={{ margin: 0 }}>
          {t('A catalog is a directory, an archive or a git repository with templates in it.')}
        </p>
        <button className="button primary" onClick={() => setAdding(true)}>
          <Plus aria-hidden />
          {t('Add a catalog')}
        </button>
      </div>
      {items.map((it) => it.status?.reason && <ReasonNote key={it.meta.id} reason={{ ...it.status.reason, message: `${it.meta.name}: ${it.status.reason.message}` }} />)}
      <Table label={t('Sources')} items={items} columns={columns} id={(it) => it.meta.id} />
      <Broken list={list} />
      {adding && <AddDialog project={project} close={() => setAdding(false)} />}
      <FormDialog open={removing !== undefined} close={() => setRemoving(undefined)} danger title={t('Remove {name}?', { name: removing?.meta.name ?? '' })} verb={t('Remove')} act={async () => removing && remove(objectPath(removing.meta, 'catalogs'))}>
        <p>{t('Its templates are offered no more. Apps that were made of them stay.')}</p>
        <Command text={`hull catalog rm ${removing?.meta.name}`} />
      </FormDialog>
    </div>
  )
}

/** Templates that cannot be used, and why. They hide no other. */
function Broken({ list }: { list: TemplateList }) {
  const broken = (list.items ?? []).filter((it) => it.problem)
  if (broken.length === 0) return null
  return (
    <section className="card">
      <h2>{t('Templates that cannot be used')}</h2>
      <ul className="timeline">
        {broken.slice(0, 200).map((it) => (
          <li key={`${it.catalog}/${it.name}`} className="wraps">
            <b className="mono">
              {it.catalog}/{it.name}
            </b>
            <span className="grow" style={{ overflowWrap: 'anywhere', minWidth: 'min(100%, 300px)' }}>
              {it.problem}
            </span>
          </li>
        ))}
      </ul>
    </section>
  )
}

type From = 'git' | 'directory' | 'archive'
const PLACES: Record<From, [Word, string]> = {
  git: ['Address', 'https://github.com/rancher/community-catalog'],
  directory: ['Path on the node', '/srv/catalog'],
  archive: ['Path on the node', '/srv/catalog.tar.gz'],
}

function AddDialog({ project, close }: { project: string; close: () => void }) {
  const [name, setName] = useState('')
  const [from, setFrom] = useState<From>('git')
  const [place, setPlace] = useState('')
  const [branch, setBranch] = useState('')
  const [keys, setKeys] = useState('')
  const [every, setEvery] = useState('')
  const [scope, setScope] = useState<'all' | 'one'>('all')
  const git = { ...(branch ? { branch: branch.trim() } : {}), ...(keys.trim() ? { keys } : {}) }
  const source: CatalogSource = from === 'git' ? { from, url: place.trim(), ...git } : { from, path: place.trim() }
  const add = () => post('/v1/catalogs', { meta: { name: name.trim() }, spec: { source, ...(every ? { every: every.trim() } : {}), ...(scope === 'one' ? { projects: [project] } : {}) } })
  const [word, example] = PLACES[from]
  const command = ['hull catalog add', name || 'NAME', quoted(place || 'LOCATION'), from === 'git' && branch && `--branch ${quoted(branch)}`, from === 'git' && keys.trim() && '--key FILE', every && `--every ${quoted(every)}`, scope === 'one' && `--only ${project}`]
  return (
    <FormDialog open close={close} title={t('Add a catalog')} verb={t('Add')} ready={name.trim() !== '' && place.trim() !== ''} act={add}>
      <TextField label={t('Name')} value={name} set={setName} autoFocus required />
      <Choices label={t('From')} value={from} set={setFrom} options={[['git', t('git repository')], ['directory', t('directory')], ['archive', t('archive')]]} />
      <TextField label={t(word)} value={place} set={setPlace} placeholder={example} required />
      {from === 'git' && <TextField label={t('Branch')} value={branch} set={setBranch} hint={t("The repository's own choice when empty.")} />}
      {from === 'git' && <TextField label={t('Signed by')} value={keys} set={setKeys} rows={3} placeholder="ssh-ed25519 AAAA… me@example.org" hint={t('Public keys of SSH, one a line: a commit that none of them signed is not taken.')} />}
      <TextField label={t('Read again every')} value={every} set={setEvery} placeholder="1d" hint={t('Only when asked when empty.')} />
      <Choices label={t('For')} value={scope} set={setScope} options={[['all', t('all projects')], ['one', t('project {name}', { name: project })]]} />
      <p className="faint" style={{ margin: 0 }}>
        {t('It is read at once. What cannot be read is told here, and no templates are lost.')}
      </p>
      <Command text={command.filter(Boolean).join(' ')} />
    </FormDialog>
  )
}
