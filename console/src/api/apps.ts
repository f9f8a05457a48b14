// What is done with apps. Bytes are written in base64.

import { post } from './http'
import { collectionPath, type Schemas } from './objects'

export type Deployed = Schemas['Deployed']
export type Difference = Schemas['AppDifference']
export type AppFiles = Schemas['AppFiles']

/** What is sent with each verb. */
interface Bodies {
  up: { files: Partial<AppFiles>; rollBackOnFailure?: boolean }
  scale: Schemas['ScaleRequest']
  rollback: Partial<Schemas['RollBackRequest']>
  install: Partial<Schemas['InstallRequest']>
  'upgrade-template': Partial<Schemas['TemplateUpgradeRequest']>
}

export const appPath = (project: string, name: string) => `${collectionPath(project, 'apps')}/${encodeURIComponent(name)}`

/** Does it, or with `plan` says what would be done. */
export function deploy<V extends keyof Bodies>(project: string, name: string, verb: V, body: Bodies[V], plan: boolean): Promise<Deployed> {
  return post<Deployed>(`${appPath(project, name)}/${verb}`, body, { plan })
}

export function encode(text: string): string {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''))
}

export function decode(data: string): string {
  return new TextDecoder().decode(Uint8Array.from(atob(data), (it) => it.charCodeAt(0)))
}
