// Which path leads to which page. All pages but the first are loaded when they are opened.

import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router'
import { Instances } from './pages/instances'
import { Overview } from './pages/overview'
import { NotFound, PageProblem, Shell } from './pages/shell'
import { Loading } from './ui/parts'

export interface InstancesSearch {
  q?: string
  type?: 'container' | 'machine'
  state?: string
  sort?: string
  down?: boolean
}

export interface TabSearch {
  tab?: string
}

export interface TemplateSearch {
  /** The app that is changed; a new one is made without. */
  app?: string
  version?: string
}

export interface CreateSearch {
  image?: string
  kind?: 'instance' | 'service'
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : undefined)

function instancesSearch(search: Record<string, unknown>): InstancesSearch {
  const type = search.type === 'container' || search.type === 'machine' ? search.type : undefined
  return { q: text(search.q), type, state: text(search.state), sort: text(search.sort), down: search.down === true || undefined }
}

const tabSearch = (search: Record<string, unknown>): TabSearch => ({ tab: text(search.tab) })

const templateSearch = (search: Record<string, unknown>): TemplateSearch => ({ app: text(search.app), version: text(search.version) })

const createSearch = (search: Record<string, unknown>): CreateSearch => ({
  image: text(search.image),
  kind: search.kind === 'service' ? 'service' : undefined,
})

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound, errorComponent: PageProblem })
const below = { getParentRoute: () => root }

const overview = createRoute({ ...below, path: '/', component: Overview })
const instances = createRoute({ ...below, path: '/instances', validateSearch: instancesSearch, component: Instances })
const instance = createRoute({
  ...below,
  path: '/instances/$project/$name',
  validateSearch: tabSearch,
  component: lazyRouteComponent(() => import('./pages/instance'), 'InstancePage'),
})
const create = createRoute({
  ...below,
  path: '/create',
  validateSearch: createSearch,
  component: lazyRouteComponent(() => import('./pages/create'), 'Create'),
})
const services = createRoute({ ...below, path: '/services', component: lazyRouteComponent(() => import('./pages/services'), 'Services') })
const service = createRoute({
  ...below,
  path: '/services/$project/$name',
  validateSearch: tabSearch,
  component: lazyRouteComponent(() => import('./pages/service'), 'ServicePage'),
})
const networks = createRoute({ ...below, path: '/networks', component: lazyRouteComponent(() => import('./pages/networks'), 'Networks') })
const volumes = createRoute({ ...below, path: '/volumes', component: lazyRouteComponent(() => import('./pages/volumes'), 'Volumes') })
const images = createRoute({ ...below, path: '/images', component: lazyRouteComponent(() => import('./pages/images'), 'Images') })
const apps = createRoute({ ...below, path: '/apps', component: lazyRouteComponent(() => import('./pages/apps'), 'Apps') })
const app = createRoute({
  ...below,
  path: '/apps/$project/$name',
  validateSearch: tabSearch,
  component: lazyRouteComponent(() => import('./pages/app'), 'AppPage'),
})
const catalog = createRoute({
  ...below,
  path: '/catalog',
  validateSearch: tabSearch,
  component: lazyRouteComponent(() => import('./pages/catalog'), 'Catalog'),
})
const template = createRoute({
  ...below,
  path: '/catalog/$catalog/$name',
  validateSearch: templateSearch,
  component: lazyRouteComponent(() => import('./pages/template'), 'TemplatePage'),
})
const secrets = createRoute({ ...below, path: '/secrets', component: lazyRouteComponent(() => import('./pages/secrets'), 'Secrets') })
const nodes = createRoute({ ...below, path: '/nodes', component: lazyRouteComponent(() => import('./pages/nodes'), 'Nodes') })
const activity = createRoute({
  ...below,
  path: '/activity',
  validateSearch: tabSearch,
  component: lazyRouteComponent(() => import('./pages/activity'), 'Activity'),
})
const tokens = createRoute({ ...below, path: '/tokens', component: lazyRouteComponent(() => import('./pages/tokens'), 'Tokens') })
const projects = createRoute({ ...below, path: '/projects', component: lazyRouteComponent(() => import('./pages/projects'), 'Projects') })
const settings = createRoute({ ...below, path: '/settings', component: lazyRouteComponent(() => import('./pages/settings'), 'Settings') })

const tree = root.addChildren([overview, instances, instance, create, apps, app, catalog, template, services, service, networks, volumes, images, secrets, nodes, activity, tokens, projects, settings])

export const router = createRouter({
  routeTree: tree,
  basepath: '/console',
  defaultPreload: 'intent',
  defaultPendingComponent: Loading,
  defaultErrorComponent: PageProblem,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
