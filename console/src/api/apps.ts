// Apps, and the templates they are made of.

import { get, post } from './http'
import { collectionPath, type Meta, type Reason } from './objects'
import { Collection } from './collection'

export type AppPhase = 'pending' | 'deploying' | 'ready' | 'degraded' | 'failed' | 'rollingBack' | 'rolledBack' | 'removing'

export interface AppObject {
  key: string
  name: string
  external?: boolean
}

export interface App {
  kind: 'app'
  meta: Meta
  spec: {
    revision: number
    objects: Partial<Record<'networks' | 'volumes' | 'secrets' | 'configs' | 'services', { object: AppObject; spec: { dependsOn?: { service: string }[] } }[]>>
    origin?: { catalog: string; template: string; version: string; answers?: Record<string, string>; secretAnswers?: string[] }
  }
  status?: {
    phase: AppPhase
    reason?: Reason
    ready: number
    services?: { key: string; name: string; ready: boolean; readyInstances: number; wantedInstances: number; reason?: Reason }[]
    good?: number
    revisions?: { number: number; made?: string; by: string; what: string; version?: string; failed?: boolean }[]
  }
}

export interface Difference {
  kind: string
  key: string
  name: string
  action: 'create' | 'change' | 'replace' | 'remove'
  reasons?: string[]
}

export interface Deployed {
  app: App
  changes: Difference[]
  ignored?: { file: string; line: number; column: number; what: string; why: string }[]
}

export interface AppFiles {
  files: { path: string; data: string }[]
  main?: string[]
  variables?: Record<string, string>
  variableFiles?: string[]
  profiles?: string[]
}

export interface TemplateSummary {
  catalog: string
  name: string
  title: string
  summary: string
  categories: string[]
  icon: boolean
  version: string
  versions: string[]
  problem?: string
}

export interface TemplateList {
  items: TemplateSummary[]
  problems?: Record<string, string>
}

export type QuestionKind = 'string' | 'int' | 'boolean' | 'password' | 'service' | 'enum' | 'multiline' | 'multistring' | 'certificate' | 'secret'

export interface Question {
  variable: string
  label: string
  description?: string
  kind: QuestionKind
  required: boolean
  hidden?: boolean
  default?: string
  group?: string
  options?: { value: string; label: string }[]
  generate?: number
  when?: { variable: string; is: string }
}

export interface TemplateDetail {
  template: {
    title: string
    summary: string
    maintainer?: string
    homepage?: string
    license?: string
    version: string
    versions: { version: string; questions: Question[]; open?: string; note?: string; problem?: string }[]
  }
  version: string
  readme: string
  files: Record<string, string>
}

export const apps = new Collection<App>('/v1/projects/-/apps')

export const appPath = (project: string, name: string) => `${collectionPath(project, 'apps')}/${encodeURIComponent(name)}`
export const templatePath = (project: string, catalog: string, name: string) => `${collectionPath(project, 'templates')}/${encodeURIComponent(catalog)}/${encodeURIComponent(name)}`

/** Does it, or with `plan` says what would be done. */
export function deploy(project: string, name: string, verb: 'up' | 'scale' | 'rollback' | 'install' | 'upgrade-template', body: object, plan: boolean): Promise<Deployed> {
  return post<Deployed>(`${appPath(project, name)}/${verb}`, body, { plan })
}

export const listTemplates = (project: string, signal?: AbortSignal) => get<TemplateList>(collectionPath(project, 'templates'), {}, signal)
export const getTemplate = (project: string, catalog: string, name: string, version?: string, signal?: AbortSignal) => get<TemplateDetail>(templatePath(project, catalog, name), { version }, signal)

/** Bytes are written in base64. */
export function encode(text: string): string {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''))
}

export function decode(data: string): string {
  return new TextDecoder().decode(Uint8Array.from(atob(data), (it) => it.charCodeAt(0)))
}
