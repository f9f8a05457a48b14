// Templates to install: cards, and a search through them.

import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Store } from 'lucide-react'
import { useMemo, useState } from 'react'
import { listTemplates, templatePath, type TemplateSummary } from '../api/apps'
import { t } from '../i18n'
import { Badge, Command, Empty, Head, Loading, ProblemNote, SearchBox, WarningNote } from '../ui/parts'
import { projectForNew } from '../ui/project'

export function Catalog() {
  const project = projectForNew()
  const { data, error, refetch } = useQuery({ queryKey: ['templates', project], queryFn: ({ signal }) => listTemplates(project, signal) })
  const [text, setText] = useState('')
  const [category, setCategory] = useState('')
  const categories = useMemo(() => [...new Set((data?.items ?? []).flatMap((it) => it.categories))].sort(), [data])
  if (error) return <ProblemNote error={error} retry={() => void refetch()} />
  if (!data) return <Loading />
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  const shown = data.items.filter((it) => (!category || it.categories.includes(category)) && words.every((word) => `${it.name} ${it.title} ${it.summary} ${it.categories.join(' ')}`.toLowerCase().includes(word)))
  return (
    <div className="page">
      <Head title={t('Catalog')} />
      {Object.entries(data.problems ?? {}).map(([name, problem]) => (
        <WarningNote key={name}>
          {name}: {problem}
        </WarningNote>
      ))}
      {data.items.length === 0 ? (
        <Empty icon={Store} title={t('No templates')} action={<Command text="hull catalog add community https://…" />}>
          {t('A catalog is a directory, an archive or a git repository with templates in it.')}
        </Empty>
      ) : (
        <>
          <div className="row wrap">
            <SearchBox label={t('Search the catalog')} value={text} set={setText} />
            {categories.length > 0 && (
              <select className="select" aria-label={t('Category')} value={category} onChange={(event) => setCategory(event.target.value)}>
                <option value="">{t('All categories')}</option>
                {categories.map((it) => (
                  <option key={it}>{it}</option>
                ))}
              </select>
            )}
            <span className="faint" role="status">
              {t('{shown} of {all}', { shown: shown.length, all: data.items.length })}
            </span>
          </div>
          <div className="cards" style={{ gridTemplateColumns: 'repeat(auto-fill, minmax(min(100%, 300px), 1fr))' }}>
            {shown.map((it) => (
              <Card key={`${it.catalog}/${it.name}`} project={project} template={it} />
            ))}
          </div>
        </>
      )}
    </div>
  )
}

function Card({ project, template }: { project: string; template: TemplateSummary }) {
  const { catalog, name, title, summary, problem } = template
  return (
    <Link to="/catalog/$catalog/$name" params={{ catalog, name }} search={{}} className="card tile">
      <div className="row">
        {template.icon ? <img src={`${templatePath(project, catalog, name)}/icon`} width={36} height={36} alt="" loading="lazy" style={{ objectFit: 'contain' }} /> : <Store size={28} aria-hidden color="var(--faint)" />}
        <h2 className="grow" style={{ margin: 0 }}>
          {title || name}
        </h2>
        {problem && <Badge tone="bad">{t('broken')}</Badge>}
      </div>
      <p className="faint" style={{ margin: '10px 0 0' }}>
        {problem ?? summary}
      </p>
      <p className="faint" style={{ margin: '8px 0 0', fontSize: 12 }}>
        {[catalog, template.version, ...template.categories].filter(Boolean).join(' · ')}
      </p>
    </Link>
  )
}
