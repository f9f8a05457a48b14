// The picture of a template. It is asked for as everything else: a browser that fetches a picture by itself cannot show
// the page's secret.

import { useQuery } from '@tanstack/react-query'
import { Store } from 'lucide-react'
import { useEffect, useState } from 'react'
import { getBlob } from '../api/http'
import { templatePath, type TemplateSummary } from '../api/templates'

export function TemplateIcon({ project, template }: { project: string; template: Pick<TemplateSummary, 'catalog' | 'name' | 'icon'> }) {
  const { catalog, name, icon } = template
  const { data } = useQuery({
    queryKey: ['icon', project, catalog, name],
    queryFn: ({ signal }) => getBlob(`${templatePath(project, catalog, name)}/icon`, {}, signal),
    enabled: icon,
    staleTime: Infinity,
    retry: false,
  })
  const [address, setAddress] = useState<string>()
  useEffect(() => {
    if (!data) return
    const made = URL.createObjectURL(data)
    setAddress(made)
    return () => URL.revokeObjectURL(made)
  }, [data])
  if (!address) return <Store size={28} aria-hidden color="var(--faint)" style={{ margin: 4 }} />
  return <img src={address} width={36} height={36} alt="" style={{ objectFit: 'contain' }} />
}
