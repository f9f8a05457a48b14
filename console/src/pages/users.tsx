// People who sign in, and what they may do; and one's own password.

import { Ban, KeyRound, Plus, ShieldCheck, Trash2, UserCheck, X } from 'lucide-react'
import { useState } from 'react'
import { useCollection } from '../api/collection'
import { patch, post, put, remove } from '../api/http'
import { objectPath, projects, users, type Grant, type User } from '../api/objects'
import { wasSignedOut } from '../api/session'
import { t } from '../i18n'
import { ActionMenu, FormDialog } from '../ui/dialog'
import { Age, Badge, CheckField, Command, Loading, ProblemNote, SelectField, TextField } from '../ui/parts'
import { Table, type Column } from '../ui/table'

const LEAST = 8

export const grantText = (it: Grant) => (it.project ? `${it.role}@${it.project}` : it.role)

type Asked = { verb: 'roles' | 'password' | 'disable' | 'enable' | 'remove'; user: User }

/** The users of the platform, for admins. */
export function Users() {
  const { items, complete, problem } = useCollection(users)
  const [creating, setCreating] = useState(false)
  const [asked, ask] = useState<Asked>()
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  const close = () => ask(undefined)
  const columns: Column<User>[] = [
    { key: 'name', title: t('Name'), width: 'minmax(110px, 1fr)', lead: true, cell: (it) => <b>{it.meta.name}</b> },
    { key: 'roles', title: t('Roles'), width: 'minmax(160px, 2fr)', cell: (it) => <Grants roles={it.spec.roles ?? []} /> },
    { key: 'about', title: t('About'), width: 'minmax(120px, 1fr)', cell: (it) => it.spec.description },
    { key: 'state', title: t('Signs in'), width: '130px', label: true, cell: (it) => <SignsIn user={it} /> },
    { key: 'age', title: t('Age'), width: '70px', cell: (it) => <Age time={it.meta.created} /> },
    {
      key: 'do',
      title: '',
      width: '34px',
      tail: true,
      cell: (it) => (
        <ActionMenu
          label={t('Actions for {name}', { name: it.meta.name })}
          actions={[
            { title: t('Change roles'), icon: ShieldCheck, act: () => ask({ verb: 'roles', user: it }) },
            { title: t('Set a password'), icon: KeyRound, act: () => ask({ verb: 'password', user: it }) },
            it.spec.disabled ? { title: t('Enable'), icon: UserCheck, act: () => ask({ verb: 'enable', user: it }) } : { title: t('Disable'), icon: Ban, act: () => ask({ verb: 'disable', user: it }) },
            'line',
            { title: t('Remove'), icon: Trash2, danger: true, act: () => ask({ verb: 'remove', user: it }) },
          ]}
        />
      ),
    },
  ]
  const name = asked?.user.meta.name ?? ''
  const path = asked ? objectPath(asked.user.meta, 'users') : ''
  return (
    <section className="stack" aria-label={t('Users')}>
      <div className="row wrap">
        <h2 className="grow">{t('Users')}</h2>
        <button className="button primary" onClick={() => setCreating(true)}>
          <Plus aria-hidden />
          {t('Create a user')}
        </button>
      </div>
      {items.length === 0 ? (
        <p className="faint" style={{ margin: 0 }}>
          {t('There are no users yet: tokens alone sign in. A user has a name, a password and roles.')}
        </p>
      ) : (
        <Table label={t('Users')} items={items} columns={columns} id={(it) => it.meta.id} />
      )}
      {creating && <CreateUser close={() => setCreating(false)} />}
      {asked?.verb === 'roles' && <RolesDialog key={asked.user.meta.id} user={asked.user} close={close} />}
      {asked?.verb === 'password' && <PasswordDialog name={name} close={close} />}
      <FormDialog
        open={asked?.verb === 'disable' || asked?.verb === 'enable'}
        close={close}
        title={asked?.verb === 'enable' ? t('Enable {name}?', { name }) : t('Disable {name}?', { name })}
        verb={asked?.verb === 'enable' ? t('Enable') : t('Disable')}
        about={<p>{t('Whoever is disabled may do nothing, by password or token, and is signed out.')}</p>}
        act={() => patch(path, { spec: { disabled: asked?.verb === 'disable' } })}
      >
        <Command text={`hull user update --${asked?.verb ?? 'disable'} ${name}`} />
      </FormDialog>
      <FormDialog open={asked?.verb === 'remove'} close={close} danger title={t('Remove {name}?', { name })} verb={t('Remove')} about={<p>{t('Their tokens go with them, and they are signed out.')}</p>} act={() => remove(path)}>
        <Command text={`hull user rm ${name}`} />
      </FormDialog>
    </section>
  )
}

export function Grants({ roles }: { roles: readonly Grant[] }) {
  if (roles.length === 0) return <span className="faint">{t('none')}</span>
  return (
    <span className="row wrap" style={{ gap: 4 }}>
      {roles.map((it) => (
        <Badge key={grantText(it)} tone={it.role === 'admin' ? 'warn' : 'none'}>
          {grantText(it)}
        </Badge>
      ))}
    </span>
  )
}

function SignsIn({ user }: { user: User }) {
  if (user.spec.disabled) return <Badge tone="bad">{t('disabled')}</Badge>
  return user.status?.hasPassword ? <>{t('by password')}</> : <span className="faint">{t('has no password')}</span>
}

const MEANINGS = { viewer: 'reads', operator: 'starts, stops, enters instances', editor: 'makes, changes, removes', admin: 'does everything, everywhere' } as const
const ROLES = ['viewer', 'operator', 'editor', 'admin'] as const

/** Roles that are put together: each holds in one project, or everywhere. */
export function GrantsField({ roles, set }: { roles: readonly Grant[]; set: (roles: Grant[]) => void }) {
  const known = useCollection(projects).items
  const [role, setRole] = useState<(typeof ROLES)[number]>('viewer')
  const [project, setProject] = useState('')
  const where = role === 'admin' ? '' : project
  const grant: Grant = where ? { role, project: where } : { role }
  const there = roles.some((it) => grantText(it) === grantText(grant))
  return (
    <fieldset className="stack" style={{ border: 0, padding: 0, margin: 0, gap: 8 }}>
      <legend className="faint">{t('Roles')}</legend>
      {roles.length === 0 && <span className="faint">{t('none')}</span>}
      {roles.map((it) => (
        <div key={grantText(it)} className="row">
          <span className="grow mono">{grantText(it)}</span>
          <button type="button" className="button plain small icon" aria-label={t('Take {name} away', { name: grantText(it) })} onClick={() => set(roles.filter((other) => other !== it))}>
            <X aria-hidden />
          </button>
        </div>
      ))}
      <div className="row wrap" style={{ alignItems: 'end' }}>
        <SelectField label={t('Role')} value={role} set={setRole} options={ROLES.map((it) => [it, `${it}: ${t(MEANINGS[it])}`] as const)} />
        <SelectField label={t('Where')} value={where} set={setProject} options={[['', t('everywhere')], ...(role === 'admin' ? [] : known.map((it) => [it.meta.name, it.meta.name] as const))]} />
        <button type="button" className="button" disabled={there} onClick={() => set([...roles, grant])}>
          <Plus aria-hidden />
          {t('Give')}
        </button>
      </div>
    </fieldset>
  )
}

function CreateUser({ close }: { close: () => void }) {
  const [name, setName] = useState('')
  const [description, setDescription] = useState('')
  const [roles, setRoles] = useState<Grant[]>([])
  const [password, setPassword] = useState('')
  const [made, setMade] = useState(false)
  const tooShort = password !== '' && [...password].length < LEAST
  const act = async () => {
    // The second of the two may be refused; then only that is done again.
    if (!made) await post('/v1/users', { meta: { name: name.trim() }, spec: { description, roles } })
    setMade(true)
    if (password !== '') await put(`/v1/users/${encodeURIComponent(name.trim())}/password`, { password })
  }
  return (
    <FormDialog open close={close} title={t('Create a user')} verb={t('Create')} ready={name.trim() !== '' && !tooShort} act={act}>
      <TextField label={t('Name')} value={name} set={setName} autoFocus required />
      <TextField label={t('About')} value={description} set={setDescription} hint={t('A full name, an address.')} />
      <GrantsField roles={roles} set={setRoles} />
      <TextField label={t('Password')} type="password" value={password} set={setPassword} hint={t('At least {n} characters; without one they use tokens only.', { n: LEAST })} wrong={tooShort ? t('At least {n} characters.', { n: LEAST }) : undefined} />
      <Command text={['hull user create', ...roles.map((it) => `--role ${grantText(it)}`), name || 'NAME'].join(' ')} />
    </FormDialog>
  )
}

function RolesDialog({ user, close }: { user: User; close: () => void }) {
  const [roles, setRoles] = useState<Grant[]>([...(user.spec.roles ?? [])])
  return (
    <FormDialog open close={close} title={t('Roles of {name}', { name: user.meta.name })} verb={t('Save')} act={() => patch(objectPath(user.meta, 'users'), { spec: { roles } }, undefined, user.meta.revision)}>
      <GrantsField roles={roles} set={setRoles} />
      <Command text={`hull user grant ${user.meta.name} ${roles.map(grantText).join(' ') || 'ROLE'}`} />
    </FormDialog>
  )
}

/** Sets the password of a user; their own only with the present one. */
export function PasswordDialog({ name, own, close }: { name: string; own?: boolean; close: () => void }) {
  const [present, setPresent] = useState('')
  const [password, setPassword] = useState('')
  const [shown, setShown] = useState(false)
  const tooShort = password !== '' && [...password].length < LEAST
  return (
    <FormDialog
      open
      close={close}
      title={own ? t('Change your password') : t('Set a password for {name}', { name })}
      verb={t('Save')}
      ready={password !== '' && !tooShort && (!own || present !== '')}
      about={<p>{t('Every browser that signed in with the present password is signed out.')}</p>}
      act={async () => {
        await put(`/v1/users/${encodeURIComponent(name)}/password`, own ? { present, password } : { password })
        if (own) wasSignedOut()
      }}
    >
      {own && <TextField label={t('Present password')} type="password" value={present} set={setPresent} autoFocus required />}
      <TextField label={t('New password')} type={shown ? 'text' : 'password'} value={password} set={setPassword} autoFocus={!own} required wrong={tooShort ? t('At least {n} characters.', { n: LEAST }) : undefined} />
      <CheckField label={t('Show it')} value={shown} set={setShown} />
      {!own && <Command text={`hull user password ${name}`} />}
    </FormDialog>
  )
}
