import { Link } from '@tanstack/react-router'
import { Layers } from 'lucide-react'
import { useMemo, useState } from 'react'
import { useCollection } from '../api/collection'
import { mainOf, services, type Service } from '../api/objects'
import { t } from '../i18n'
import { Age, Command, Empty, Head, Loading, ProblemNote, SearchBox } from '../ui/parts'
import { inProject, useProject } from '../ui/project'
import { ServiceState } from '../ui/state'
import { Table, type Column } from '../ui/table'

export function modeWord(service: Service): string {
  const { mode } = service.spec
  if ('replicated' in mode) return t('{n} replicas', { n: mode.replicated.replicas })
  if ('job' in mode) return t('job of {n}', { n: mode.job.completions })
  if ('global' in mode) return t('one on each node')
  return t('at set times')
}

export function Services() {
  const { items, complete, problem } = useCollection(services)
  const project = useProject()
  const [text, setText] = useState('')
  const own = inProject(items, project)
  const shown = useMemo(() => own.filter((it) => `${it.meta.name} ${mainOf(it.spec.template.spec)?.image}`.toLowerCase().includes(text.toLowerCase())), [own, text])
  const columns: Column<Service>[] = [
    {
      key: 'name',
      title: t('Name'),
      width: 'minmax(140px, 2fr)',
      lead: true,
      cell: (it) => (
        <Link className="name" to="/services/$project/$name" params={{ project: it.meta.project, name: it.meta.name }}>
          {it.meta.name}
        </Link>
      ),
    },
    { key: 'state', title: t('State'), width: 'minmax(110px, 1fr)', cell: (it) => <ServiceState service={it} /> },
    { key: 'ready', title: t('Ready'), width: '90px', label: true, cell: (it) => `${it.status?.ready ?? 0} / ${it.status?.wanted ?? 0}` },
    { key: 'mode', title: t('Mode'), width: 'minmax(100px, 1fr)', cell: modeWord },
    { key: 'image', title: t('Image'), width: 'minmax(120px, 2fr)', cell: (it) => mainOf(it.spec.template.spec)?.image },
    { key: 'project', title: t('Project'), width: '100px', cell: (it) => <span className="faint">{it.meta.project}</span> },
    { key: 'age', title: t('Age'), width: '70px', cell: (it) => <Age time={it.meta.created} /> },
  ]
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  const create = (
    <Link to="/create" search={{ kind: 'service' }} className="button primary">
      {t('Create a service')}
    </Link>
  )
  return (
    <div className="page fill">
      <Head title={t('Services')}>{own.length > 0 && <div className="actions">{create}</div>}</Head>
      {own.length === 0 ? (
        <Empty
          icon={Layers}
          title={t('No services yet')}
          action={
            <>
              {create}
              <Command text="hull service create --name web --replicas 3 --health-http 80/ nginx" />
            </>
          }
        >
          {t('A service keeps instances of a template running, answers to one name, and changes them a few at a time when the template changes.')}
        </Empty>
      ) : (
        <>
          <SearchBox label={t('Name or image')} value={text} set={setText} />
          <Table fill label={t('Services')} items={shown} columns={columns} id={(it) => it.meta.id} />
        </>
      )}
    </div>
  )
}
