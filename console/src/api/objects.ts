// The nouns, with the types of the API's own document.

import { Collection } from './collection'
import type { components } from './schema'

export type Schemas = components['schemas']

/** What the server always sends of it. */
export type Meta = Schemas['Meta'] & { project: string; labels: Record<string, string>; annotations: Record<string, string>; revision: number; generation: number }
type Whole<T> = T & { meta: Meta }
export type Instance = Whole<Schemas['Instance']>
export type InstanceSpec = Schemas['InstanceSpec']
export type ContainerSpec = Schemas['ContainerSpec']
export type Service = Whole<Schemas['Service']>
export type ServiceSpec = Schemas['ServiceSpec']
export type Network = Whole<Schemas['Network']>
export type Volume = Whole<Schemas['Volume']>
export type Snapshot = Whole<Schemas['Snapshot']>
export type Node = Whole<Schemas['Node']>
export type Operation = Whole<Schemas['Operation']>
export type Project = Whole<Schemas['Project']>
export type Quota = Partial<Schemas['Quota']>
export type Token = Whole<Schemas['Token']>
export type User = Whole<Schemas['User']>
export type Grant = Schemas['Grant']
export type Secret = Whole<Schemas['Secret']>
export type Config = Whole<Schemas['Config']>
export type App = Whole<Schemas['App']>
export type AppService = Schemas['AppService']
export type Catalog = Whole<Schemas['Catalog']>
export type Image = Schemas['Image']
export type Event = Schemas['Event']
export type Stats = Schemas['Stats']
export type Status = Schemas['Status']
export type Reason = Schemas['Reason']
export type Mount = Schemas['Mount']
export type Port = Schemas['Port']
export type Progress = Schemas['Progress']
export type DiskUsage = Schemas['DiskUsage']
export type CheckReport = Schemas['CheckReport']
export type GuestFacts = Schemas['GuestFacts']
export type MachineSnapshot = Schemas['MachineSnapshot']
export type ProcessTable = Schemas['ProcessTable']
export type Phase = Schemas['Phase']

/** What all objects have. */
export interface AnyObject {
  kind: string
  meta: Meta
  spec: object
  status?: object
}

export const instances = new Collection<Instance>('/v1/projects/-/instances')
export const services = new Collection<Service>('/v1/projects/-/services')
export const networks = new Collection<Network>('/v1/projects/-/networks')
export const volumes = new Collection<Volume>('/v1/projects/-/volumes')
export const snapshots = new Collection<Snapshot>('/v1/projects/-/snapshots')
export const secrets = new Collection<Secret>('/v1/projects/-/secrets')
export const configs = new Collection<Config>('/v1/projects/-/configs')
export const apps = new Collection<App>('/v1/projects/-/apps')
export const catalogs = new Collection<Catalog>('/v1/catalogs')
export const nodes = new Collection<Node>('/v1/nodes')
export const operations = new Collection<Operation>('/v1/operations')
export const projects = new Collection<Project>('/v1/projects')
export const tokens = new Collection<Token>('/v1/tokens')
export const users = new Collection<User>('/v1/users')

/** The path of a collection of a project. */
export function collectionPath(project: string, noun: string): string {
  return `/v1/projects/${encodeURIComponent(project)}/${noun}`
}

/** The path of an object. */
export function objectPath(meta: { project: string; name: string }, noun: string): string {
  const place = meta.project ? collectionPath(meta.project, noun) : `/v1/${noun}`
  return `${place}/${encodeURIComponent(meta.name)}`
}

export function isMachine(instance: Instance): boolean {
  return Boolean(instance.spec.machine || instance.status?.machine)
}

/** The container that an instance is made for. */
export function mainOf(spec: InstanceSpec): ContainerSpec | undefined {
  return spec.containers?.[0]
}

export function imageOf(instance: Instance): string {
  return mainOf(instance.spec)?.image ?? ''
}

/** All that is watched, for whoever signs out. */
export const collections = [instances, services, apps, catalogs, networks, volumes, snapshots, secrets, configs, nodes, operations, projects, tokens, users]
