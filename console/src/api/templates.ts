// Templates of apps, and the catalogs they come from.

import { get } from './http'
import { collectionPath, type Schemas } from './objects'

export type TemplateList = Schemas['TemplateList']
export type TemplateSummary = Schemas['TemplateSummary']
export type TemplateDetail = Schemas['TemplateDetail']
export type TemplateVersion = Schemas['TemplateVersion']
export type Question = Schemas['Question']
export type CatalogSource = Schemas['CatalogSource']

export const templatePath = (project: string, catalog: string, name: string) => `${collectionPath(project, 'templates')}/${encodeURIComponent(catalog)}/${encodeURIComponent(name)}`

export const listTemplates = (project: string, signal?: AbortSignal) => get<TemplateList>(collectionPath(project, 'templates'), {}, signal)
export const getTemplate = (project: string, catalog: string, name: string, version?: string, signal?: AbortSignal) => get<TemplateDetail>(templatePath(project, catalog, name), { version }, signal)
