// Snapshots of a machine: of all its disks at one moment.

import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Camera, CopyPlus, History, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { get, post, remove } from '../api/http'
import { objectPath, type Instance, type MachineSnapshot } from '../api/objects'
import { formatTime, t } from '../i18n'
import { FormDialog } from '../ui/dialog'
import { CheckField, Command, Empty, Loading, ProblemNote, TextField } from '../ui/parts'
import { Table, type Column } from '../ui/table'

type Asked = { verb: 'take' } | { verb: 'restore' | 'clone' | 'remove'; snapshot: string }

export function MachineSnapshots({ instance }: { instance: Instance }) {
  const path = objectPath(instance.meta, 'instances')
  const key = ['snapshots', instance.meta.id]
  const queries = useQueryClient()
  const { data, error, refetch } = useQuery({ queryKey: key, queryFn: ({ signal }) => get<MachineSnapshot[]>(`${path}/snapshots`, {}, signal) })
  const [asked, ask] = useState<Asked>()
  const [name, setName] = useState('')
  const [memory, setMemory] = useState(false)
  const done = () => queries.invalidateQueries({ queryKey: key })
  if (error) return <ProblemNote error={error} retry={() => void refetch()} />
  if (!data) return <Loading />
  const open = (next: Asked) => {
    setName('')
    ask(next)
  }
  const take = (
    <button className="button primary" onClick={() => open({ verb: 'take' })}>
      <Camera aria-hidden />
      {t('Take a snapshot')}
    </button>
  )
  const columns: Column<MachineSnapshot>[] = [
    { key: 'name', title: t('Name'), width: '2fr', lead: true, cell: (it) => <b>{it.name}</b> },
    { key: 'taken', title: t('Taken'), width: '2fr', cell: (it) => formatTime(it.created) },
    { key: 'what', title: t('What it has'), width: '2fr', cell: (it) => [it.disks.join(', '), it.memory && t('memory'), it.consistent && t('consistent')].filter(Boolean).join(' · ') },
    {
      key: 'do',
      title: '',
      width: '120px',
      tail: true,
      cell: (it) => (
        <span className="row" style={{ gap: 2 }}>
          <Do label={t('Go back to {name}', { name: it.name })} icon={History} act={() => open({ verb: 'restore', snapshot: it.name })} />
          <Do label={t('Make a machine of {name}', { name: it.name })} icon={CopyPlus} act={() => open({ verb: 'clone', snapshot: it.name })} />
          <Do label={t('Remove {name}', { name: it.name })} icon={Trash2} act={() => open({ verb: 'remove', snapshot: it.name })} />
        </span>
      ),
    },
  ]
  return (
    <div className="stack">
      {data.length === 0 ? (
        <Empty icon={Camera} title={t('No snapshots yet')} action={take}>
          {t('A snapshot keeps all disks as they are at one moment. The machine can go back to it, and further machines can be made of it.')}
        </Empty>
      ) : (
        <>
          <div>{take}</div>
          <Table label={t('Snapshots')} items={data} columns={columns} id={(it) => it.name} />
        </>
      )}
      <FormDialog
        open={asked !== undefined}
        close={() => ask(undefined)}
        title={titleOf(asked)}
        verb={titleOf(asked)}
        danger={asked?.verb === 'remove' || asked?.verb === 'restore'}
        ready={asked?.verb !== 'clone' || name !== ''}
        act={async () => {
          if (asked?.verb === 'take') await post(`${path}/snapshots`, { name, memory })
          else if (asked?.verb === 'restore') await post(`${path}/restore`, {}, { snapshot: asked.snapshot })
          else if (asked?.verb === 'clone') await post(`${path}/clone`, { snapshot: asked.snapshot, name, run: 'running' })
          else if (asked?.verb === 'remove') await remove(`${path}/snapshots`, { snapshot: asked.snapshot })
          await done()
        }}
      >
        {asked?.verb === 'take' && (
          <>
            <TextField label={t('Name')} value={name} set={setName} hint={t('One with the time in it when empty.')} />
            <CheckField label={t('With memory')} value={memory} set={setMemory} hint={t('Also what the guest does at this moment, so that it goes on from there.')} />
            <Command text={`hull snapshot create ${instance.meta.name}${name ? ` ${name}` : ''}${memory ? ' --memory' : ''}`} />
          </>
        )}
        {asked?.verb === 'restore' && <p>{t('What the disks have now is lost. The machine starts from the snapshot.')}</p>}
        {asked?.verb === 'clone' && <TextField label={t('Name of the new machine')} value={name} set={setName} required />}
        {asked?.verb === 'remove' && <p>{t('The machine itself stays as it is.')}</p>}
      </FormDialog>
    </div>
  )
}

function titleOf(asked?: Asked): string {
  if (asked?.verb === 'restore') return t('Go back to {name}', { name: asked.snapshot })
  if (asked?.verb === 'clone') return t('Make a machine of {name}', { name: asked.snapshot })
  if (asked?.verb === 'remove') return t('Remove {name}', { name: asked.snapshot })
  return t('Take a snapshot')
}

function Do({ label, icon: Icon, act }: { label: string; icon: typeof Camera; act: () => void }) {
  return (
    <button className="button plain small icon" aria-label={label} title={label} onClick={act}>
      <Icon aria-hidden />
    </button>
  )
}
