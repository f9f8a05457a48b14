// What is around every page: the way to the others, and whether the server answers.

import { Link, Outlet, useRouterState, type ErrorComponentProps } from '@tanstack/react-router'
import { Activity, Boxes, FileLock2, FolderKanban, HardDrive, KeyRound, Languages, Layers, LayoutDashboard, LayoutGrid, LogOut, Menu, Network, Package, Plus, Server, Settings, Store, Sun, type LucideIcon } from 'lucide-react'
import { DropdownMenu } from 'radix-ui'
import { lazy, Suspense, useEffect, useState } from 'react'
import { useCollection, useWarm } from '../api/collection'
import { connection, useConnection, useUpgraded } from '../api/connection'
import { instances, nodes, projects } from '../api/objects'
import { signOut, useSession } from '../api/session'
import { choose, currentLanguage, t, type Word } from '../i18n'
import icon from '../icon.svg'
import { Empty, ProblemNote } from '../ui/parts'
import { chooseProject, inProject, useProject } from '../ui/project'
import { chooseTheme, useTheme, type Theme } from '../ui/theme'

/** Loaded when somebody asks for it. */
const OwnPassword = lazy(async () => ({ default: (await import('./users')).PasswordDialog }))

interface Place {
  to: string
  word: Word
  icon: LucideIcon
}

const PLACES: [Word, Place[]][] = [
  [
    'Run',
    [
      { to: '/', word: 'Overview', icon: LayoutDashboard },
      { to: '/apps', word: 'Apps', icon: LayoutGrid },
      { to: '/catalog', word: 'Catalog', icon: Store },
      { to: '/instances', word: 'Instances', icon: Boxes },
      { to: '/services', word: 'Services', icon: Layers },
    ],
  ],
  [
    'Resources',
    [
      { to: '/images', word: 'Images', icon: Package },
      { to: '/volumes', word: 'Volumes', icon: HardDrive },
      { to: '/networks', word: 'Networks', icon: Network },
      { to: '/secrets', word: 'Secrets and configs', icon: FileLock2 },
    ],
  ],
  [
    'Platform',
    [
      { to: '/nodes', word: 'Nodes', icon: Server },
      { to: '/activity', word: 'Activity', icon: Activity },
      { to: '/projects', word: 'Projects', icon: FolderKanban },
      { to: '/tokens', word: 'Users and tokens', icon: KeyRound },
      { to: '/settings', word: 'Settings', icon: Settings },
    ],
  ],
]

export function Shell() {
  const [open, setOpen] = useState(false)
  const path = useRouterState({ select: (state) => state.location.pathname })
  useWarm(instances)
  useWarm(nodes)
  useEffect(() => setOpen(false), [path])
  return (
    <>
      <a className="skip" href="#main">
        {t('Skip to content')}
      </a>
      <Banner path={path} />
      <div className="shell">
        <header className="top">
          <button className="button plain icon only-small" aria-label={t('Menu')} aria-expanded={open} onClick={() => setOpen(!open)}>
            <Menu aria-hidden />
          </button>
          <Link to="/" className="brand" aria-label="Monohull">
            <img src={icon} width={26} height={26} alt="" />
            <span className="not-small">Monohull</span>
          </Link>
          <div className="grow" />
          <ProjectChoice />
          <Link to="/create" className="button primary" aria-label={t('Create')}>
            <Plus aria-hidden />
            <span className="not-small">{t('Create')}</span>
          </Link>
          <Account />
        </header>
        {open && <div className="veil only-small" onClick={() => setOpen(false)} />}
        <Side open={open} />
        <main className="main" id="main" tabIndex={-1}>
          <Outlet />
        </main>
      </div>
    </>
  )
}

function Side({ open }: { open: boolean }) {
  const project = useProject()
  const count = inProject(useCollection(instances).items, project).length
  return (
    <nav className={open ? 'side open' : 'side'} aria-label={t('Pages')}>
      {PLACES.map(([title, places]) => (
        <div key={title}>
          <h2>{t(title)}</h2>
          {places.map((place) => (
            <Entry key={place.to} place={place} count={place.to === '/instances' ? count : 0} />
          ))}
        </div>
      ))}
    </nav>
  )
}

function Entry({ place, count }: { place: Place; count: number }) {
  const { to, word, icon: Icon } = place
  return (
    <Link to={to} activeOptions={{ exact: to === '/', includeSearch: false }}>
      <Icon aria-hidden />
      {t(word)}
      {count > 0 && <span className="count">{count}</span>}
    </Link>
  )
}

function ProjectChoice() {
  const { items } = useCollection(projects)
  const project = useProject()
  if (items.length < 2 && project === '') return null
  return (
    <select className="select" aria-label={t('Project')} value={project} onChange={(event) => chooseProject(event.target.value)}>
      <option value="">{t('All projects')}</option>
      {items.map((it) => (
        <option key={it.meta.id} value={it.meta.name}>
          {it.meta.name}
        </option>
      ))}
    </select>
  )
}

function Account() {
  const session = useSession()
  const [changing, setChanging] = useState(false)
  const user = session.state === 'in' ? session.user : undefined
  const theme = useTheme()
  const name = session.state === 'in' ? session.name : ''
  return (
    <>
    {changing && user && (
      <Suspense fallback={null}>
        <OwnPassword name={user} own close={() => setChanging(false)} />
      </Suspense>
    )}
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger className="button icon" aria-label={t('Signed in as {name}', { name })}>
        {name.slice(0, 1).toUpperCase()}
      </DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content className="menu" align="end" sideOffset={4}>
          <DropdownMenu.Label className="label">{t('Signed in as {name}', { name })}</DropdownMenu.Label>
          <DropdownMenu.Separator />
          {(['system', 'light', 'dark'] as Theme[]).map((it) => (
            <DropdownMenu.CheckboxItem key={it} checked={theme === it} onSelect={() => chooseTheme(it)}>
              <Sun aria-hidden />
              {t(it === 'system' ? 'Colours of the system' : it === 'light' ? 'Light' : 'Dark')}
              {theme === it && ' ✓'}
            </DropdownMenu.CheckboxItem>
          ))}
          <DropdownMenu.Separator />
          <DropdownMenu.Item onSelect={() => choose(currentLanguage() === 'zh' ? 'en' : 'zh')}>
            <Languages aria-hidden />
            {currentLanguage() === 'zh' ? 'English' : '中文'}
          </DropdownMenu.Item>
          <DropdownMenu.Separator />
          {user && session.state === 'in' && session.name === user && (
            <DropdownMenu.Item onSelect={() => setChanging(true)}>
              <KeyRound aria-hidden />
              {t('Change your password')}
            </DropdownMenu.Item>
          )}
          <DropdownMenu.Item onSelect={() => void signOut()}>
            <LogOut aria-hidden />
            {t('Sign out')}
          </DropdownMenu.Item>
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
    </>
  )
}

/** Says that the server is away, or that it is another version than this page. */
function Banner({ path }: { path: string }) {
  const state = useConnection()
  const upgraded = useUpgraded()
  const [shown, setShown] = useState(false)
  const [seen, setSeen] = useState<string>()
  useEffect(() => {
    // A moment's loss is nobody's business.
    const timer = setTimeout(() => setShown(state === 'lost'), state === 'lost' ? 1500 : 0)
    return () => clearTimeout(timer)
  }, [state])
  useEffect(() => {
    if (!upgraded) return
    // Whoever goes to another page loses nothing by a new one.
    if (seen === undefined) setSeen(path)
    else if (path !== seen) location.reload()
  }, [upgraded, path, seen])
  if (upgraded) {
    return (
      <div className="banner busy" role="status">
        {t('hull was upgraded. This page is of the version before.')}
        <button className="button small" onClick={() => location.reload()}>
          {t('Load it anew')}
        </button>
      </div>
    )
  }
  if (!shown) return null
  return (
    <div className="banner warn" role="status">
      {t('hull does not answer. What you see is as it was; the page connects again by itself.')}
      <button className="button small" onClick={() => connection.wake()}>
        {t('Try now')}
      </button>
    </div>
  )
}

export function NotFound() {
  return (
    <Empty icon={LayoutDashboard} title={t('There is no such page')} action={<Link to="/">{t('Go to the overview')}</Link>}>
      {t('The address may be of another version, or mistyped.')}
    </Empty>
  )
}

export function PageProblem({ error, reset }: ErrorComponentProps) {
  return <ProblemNote error={error} retry={reset} />
}
