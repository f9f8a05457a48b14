// A project's quota: what is used of it, and the form that changes it.

import { useState } from 'react'
import { patch } from '../api/http'
import { objectPath, type Project, type Quota } from '../api/objects'
import { formatBytes, t } from '../i18n'
import { FormDialog } from '../ui/dialog'
import { Badge, Command, TextField } from '../ui/parts'

type Resource = keyof Quota

const NUMBERS: readonly Resource[] = ['instances', 'cpus', 'volumes']
const RESOURCES = [
  ['instances', 'Instances', 'those that run or are to run'],
  ['cpus', 'Processors', 'by the limits of what runs: 1.5'],
  ['memory', 'Memory', 'by the limits of what runs: 512m, 4g'],
  ['volumes', 'Volumes', 'those that are there'],
  ['storage', 'Storage', 'by the sizes of volumes and disks: 100g'],
] as const

const amount = (resource: Resource, value: number | string) => (NUMBERS.includes(resource) ? String(value) : formatBytes(Number(value)))

/** What of a project's quota is used: nothing when it has none. */
export function QuotaUse({ project }: { project: Project }) {
  const quota: Quota = project.spec.quota ?? {}
  const bounded = RESOURCES.filter(([resource]) => quota[resource] != null)
  if (bounded.length === 0) return <span className="faint">{t('no bound')}</span>
  return (
    <span className="row wrap" style={{ gap: 4 }}>
      {bounded.map(([resource, title]) => {
        const used = project.status?.used?.[resource] ?? 0
        const bound = quota[resource] ?? 0
        return (
          <Badge key={resource} tone={Number(used) >= Number(bound) ? 'warn' : 'none'}>
            {t('{what}: {used} of {bound}', { what: t(title), used: amount(resource, used), bound: amount(resource, bound) })}
          </Badge>
        )
      })}
    </span>
  )
}

/** What a form shows of a bound: bytes as the largest unit that divides them. */
function written(resource: Resource, value: number | string | null | undefined): string {
  if (value == null) return ''
  if (NUMBERS.includes(resource)) return String(value)
  const units = ['', 'k', 'm', 'g', 't', 'p']
  let [rest, unit] = [Number(value), 0]
  while (rest > 0 && rest % 1024 === 0 && unit + 1 < units.length) [rest, unit] = [rest / 1024, unit + 1]
  return `${rest}${units[unit]}`
}

export function QuotaDialog({ project, close }: { project: Project; close: () => void }) {
  const before = (resource: Resource) => written(resource, project.spec.quota?.[resource])
  const [typed, setTyped] = useState<Record<Resource, string>>(() => ({ instances: before('instances'), cpus: before('cpus'), memory: before('memory'), volumes: before('volumes'), storage: before('storage') }))
  const changed = RESOURCES.filter(([resource]) => typed[resource].trim() !== before(resource))
  const value = (resource: Resource) => {
    const text = typed[resource].trim()
    if (text === '') return null
    return resource === 'instances' || resource === 'volumes' ? Number(text) : text
  }
  const words = changed.map(([resource]) => `${resource}=${typed[resource].trim() || 'none'}`).join(',')
  return (
    <FormDialog
      open
      close={close}
      title={t('Quota of {name}', { name: project.meta.name })}
      verb={t('Save')}
      ready={changed.length > 0}
      about={<p>{t('What is empty has no bound. What goes beyond waits until there is room; nothing that runs is ended.')}</p>}
      act={() => patch(objectPath(project.meta, 'projects'), { spec: { quota: Object.fromEntries(changed.map(([resource]) => [resource, value(resource)])) } })}
    >
      {RESOURCES.map(([resource, title, hint], index) => (
        <TextField key={resource} label={t(title)} hint={t(hint)} value={typed[resource]} set={(text) => setTyped((old) => ({ ...old, [resource]: text }))} autoFocus={index === 0} />
      ))}
      <Command text={`hull project update ${project.meta.name} --quota ${words || 'memory=4g'}`} />
    </FormDialog>
  )
}
