// Templates to install: cards, and a search through them; and the catalogs they come from.

import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { Store } from 'lucide-react'
import { Tabs } from 'radix-ui'
import { useMemo, useState } from 'react'
import { useCollection } from '../api/collection'
import { catalogs } from '../api/objects'
import { listTemplates, type TemplateList, type TemplateSummary } from '../api/templates'
import { t } from '../i18n'
import { Badge, Command, Empty, Head, Loading, ProblemNote, SearchBox, WarningNote } from '../ui/parts'
import { projectForNew, useProject } from '../ui/project'
import { Sources } from './sources'
import { TemplateIcon } from './template-icon'

export function Catalog() {
  useProject()
  const project = projectForNew()
  const { tab } = useSearch({ from: '/catalog' })
  const navigate = useNavigate({ from: '/catalog' })
  const sources = useCollection(catalogs)
  // What is offered changes when a catalog was read anew, and only then.
  const contents = sources.items.map((it) => `${it.meta.name} ${it.status?.content ?? ''} ${(it.spec.projects ?? []).join()}`).join()
  const { data, error, refetch } = useQuery({ queryKey: ['templates', project, contents], queryFn: ({ signal }) => listTemplates(project, signal), enabled: sources.complete, placeholderData: (old) => old })
  const current = tab === 'sources' ? 'sources' : 'templates'
  if (sources.problem && !sources.complete) return <ProblemNote error={sources.problem} />
  if (error) return <ProblemNote error={error} retry={() => void refetch()} />
  if (!data) return <Loading />
  return (
    <div className="page">
      <Head title={t('Catalog')} />
      <Tabs.Root value={current} onValueChange={(next) => void navigate({ search: { tab: next === 'sources' ? next : undefined }, replace: true })}>
        <Tabs.List className="tabs" aria-label={t('Catalog')}>
          <Tabs.Trigger value="templates">{t('Templates')}</Tabs.Trigger>
          <Tabs.Trigger value="sources">{t('Sources')}</Tabs.Trigger>
        </Tabs.List>
        <Tabs.Content value={current} className="panel" style={{ paddingTop: 14 }}>
          {current === 'templates' ? <Templates project={project} list={data} /> : <Sources project={project} list={data} />}
        </Tabs.Content>
      </Tabs.Root>
    </div>
  )
}

const textOf = (it: TemplateSummary) => [it.name, it.title, it.summary, ...(it.categories ?? [])].join(' ').toLowerCase()

/** Beyond so many cards somebody has to search. */
const MOST = 300

function Templates({ project, list }: { project: string; list: TemplateList }) {
  const [text, setText] = useState('')
  const [category, setCategory] = useState('')
  const [from, setFrom] = useState('')
  const all = useMemo(() => list.items ?? [], [list])
  const categories = useMemo(() => [...new Set(all.flatMap((it) => it.categories ?? []))].sort(), [all])
  const names = useMemo(() => [...new Set(all.map((it) => it.catalog))].sort(), [all])
  if (all.length === 0) {
    return (
      <Empty icon={Store} title={t('No templates')} action={<Command text="hull catalog add community https://…" />}>
        {t('A catalog is a directory, an archive or a git repository with templates in it.')}
      </Empty>
    )
  }
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  // Parts of other platforms are for those who look for them.
  const offered = all.filter((it) => !it.system || from === it.catalog)
  const shown = offered.filter((it) => (!category || it.categories?.includes(category)) && (!from || it.catalog === from) && words.every((word) => textOf(it).includes(word)))
  return (
    <div className="stack">
      {Object.entries(list.problems ?? {}).map(([name, problem]) => (
        <WarningNote key={name}>{problem}</WarningNote>
      ))}
      <div className="row wrap">
        <SearchBox label={t('Search the catalog')} value={text} set={setText} />
        {categories.length > 0 && <Choice label={t('Category')} all={t('All categories')} values={categories} value={category} set={setCategory} />}
        {names.length > 1 && <Choice label={t('Source')} all={t('All sources')} values={names} value={from} set={setFrom} />}
        <span className="faint" role="status">
          {t('{shown} of {all}', { shown: shown.length, all: offered.length })}
        </span>
      </div>
      <div className="cards" style={{ gridTemplateColumns: 'repeat(auto-fill, minmax(min(100%, 300px), 1fr))' }}>
        {shown.slice(0, MOST).map((it) => (
          <Card key={`${it.catalog}/${it.name}`} project={project} template={it} />
        ))}
      </div>
    </div>
  )
}

function Choice({ label, all, values, value, set }: { label: string; all: string; values: readonly string[]; value: string; set: (value: string) => void }) {
  return (
    <select className="select" aria-label={label} value={value} onChange={(event) => set(event.target.value)}>
      <option value="">{all}</option>
      {values.map((it) => (
        <option key={it}>{it}</option>
      ))}
    </select>
  )
}

function Card({ project, template }: { project: string; template: TemplateSummary }) {
  const { catalog, name, title, summary, problem } = template
  return (
    <Link to="/catalog/$catalog/$name" params={{ catalog, name }} search={{}} className="card tile">
      <div className="row">
        <TemplateIcon project={project} template={template} />
        <h2 className="grow" style={{ margin: 0 }}>
          {title || name}
        </h2>
        {problem && <Badge tone="bad">{t('broken')}</Badge>}
      </div>
      <p className="faint" style={{ margin: '10px 0 0' }}>
        {problem ?? summary}
      </p>
      <p className="faint" style={{ margin: '8px 0 0', fontSize: 12 }}>
        {[catalog, template.version, ...(template.categories ?? [])].filter(Boolean).join(' · ')}
      </p>
    </Link>
  )
}
