import { Plus, RefreshCw, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { useCollection } from '../api/collection'
import { post, remove } from '../api/http'
import { objectPath, tokens, users, type Grant, type Token } from '../api/objects'
import { formatTime, t } from '../i18n'
import { useAdmin, useSession } from '../api/session'
import { ActionMenu, Dialog, FormDialog } from '../ui/dialog'
import { Age, Badge, Command, Head, Loading, ProblemNote, SelectField, TextField } from '../ui/parts'
import { Table, type Column } from '../ui/table'
import { Grants, GrantsField, Users, grantText } from './users'

type Asked = { verb: 'renew' | 'remove'; token: Token }

export function Tokens() {
  const { items, complete, problem } = useCollection(tokens)
  const [creating, setCreating] = useState(false)
  const [asked, ask] = useState<Asked>()
  const [secret, setSecret] = useState<string>()
  const admin = useAdmin()
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  const columns: Column<Token>[] = [
    { key: 'name', title: t('Name'), width: 'minmax(120px, 1fr)', lead: true, cell: (it) => <b>{it.meta.name}</b> },
    { key: 'user', title: t('User'), width: 'minmax(80px, 1fr)', cell: (it) => it.spec.user },
    { key: 'worth', title: t('Worth'), width: 'minmax(120px, 1fr)', cell: (it) => <Worth token={it} /> },
    { key: 'about', title: t('About'), width: 'minmax(140px, 2fr)', cell: (it) => it.spec.description },
    { key: 'expires', title: t('Expires'), width: 'minmax(150px, 1fr)', label: true, cell: (it) => <Expiry token={it} /> },
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
            { title: t('Give it another secret'), icon: RefreshCw, act: () => ask({ verb: 'renew', token: it }) },
            'line',
            { title: t('Withdraw'), icon: Trash2, danger: true, act: () => ask({ verb: 'remove', token: it }) },
          ]}
        />
      ),
    },
  ]
  return (
    <div className="page">
      <Head title={t('Users and tokens')}>
        <div className="actions">
          <button className="button primary" onClick={() => setCreating(true)}>
            <Plus aria-hidden />
            {t('Create a token')}
          </button>
        </div>
      </Head>
      <p className="faint" style={{ margin: 0 }}>
        {t('Users sign in at the console. A token is for the command line, the API and programs: a user’s is worth what they may, or less; one that is nobody’s may do everything unless roles say what.')}
      </p>
      {admin && <Users />}
      {admin && <h2>{t('Tokens')}</h2>}
      <Table label={t('Tokens')} items={items} columns={columns} id={(it) => it.meta.id} />
      <CreateDialog open={creating} close={() => setCreating(false)} made={setSecret} />
      <FormDialog
        open={asked !== undefined}
        close={() => ask(undefined)}
        danger
        title={asked?.verb === 'renew' ? t('Give {name} another secret?', { name: asked.token.meta.name }) : t('Withdraw {name}?', { name: asked?.token.meta.name ?? '' })}
        verb={asked?.verb === 'renew' ? t('Give it another secret') : t('Withdraw')}
        about={<p>{t('Whoever uses the present secret, browsers included, is signed out.')}</p>}
        act={async () => {
          if (asked?.verb === 'renew') setSecret((await post<{ secret: string }>(`${objectPath(asked.token.meta, 'tokens')}/renew`)).secret)
          else if (asked) await remove(objectPath(asked.token.meta, 'tokens'))
        }}
      >
        {null}
      </FormDialog>
      <Dialog open={secret !== undefined} close={() => setSecret(undefined)} title={t('The secret')} about={<p>{t('It is shown this once. Keep it where only its owner can read it.')}</p>}>
        <Command text={secret ?? ''} />
        <Command text={`export HULL_TOKEN=${secret}`} />
      </Dialog>
    </div>
  )
}

/** What it is worth at most. */
function Worth({ token }: { token: Token }) {
  const { roles = [], user } = token.spec
  if (roles.length > 0) return <Grants roles={roles} />
  return user ? <span className="faint">{t('what they may')}</span> : <Grants roles={[{ role: 'admin' }]} />
}

function Expiry({ token }: { token: Token }) {
  const { expires } = token.spec
  if (!expires) return <span className="faint">{t('never')}</span>
  if (Date.parse(expires) < Date.now()) return <Badge tone="bad">{t('expired')}</Badge>
  return <>{formatTime(expires)}</>
}

const DAYS = { '': 0, '7': 7, '30': 30, '365': 365 } as const

function CreateDialog({ open, close, made }: { open: boolean; close: () => void; made: (secret: string) => void }) {
  const [name, setName] = useState('')
  const [description, setDescription] = useState('')
  const [days, setDays] = useState<keyof typeof DAYS>('')
  const session = useSession()
  const admin = useAdmin()
  const self = session.state === 'in' ? (session.user ?? '') : ''
  const [user, setUser] = useState(self)
  const [roles, setRoles] = useState<Grant[]>([])
  const known = useCollection(users).items
  const expires = days === '' ? undefined : new Date(Date.now() + DAYS[days] * 86_400_000).toISOString()
  return (
    <FormDialog open={open} close={close} title={t('Create a token')} verb={t('Create')} ready={name.trim() !== ''} act={async () => made((await post<{ secret: string }>('/v1/tokens', { name: name.trim(), description, user, roles, expires })).secret)}>
      <TextField label={t('Name')} value={name} set={setName} autoFocus required />
      <TextField label={t('About')} value={description} set={setDescription} hint={t('What for, or whose.')} />
      {admin && <SelectField label={t('User')} value={user} set={setUser} options={[['', t('nobody’s: a program’s')], ...known.map((it) => [it.meta.name, it.meta.name] as const)]} />}
      <GrantsField roles={roles} set={setRoles} />
      <p className="faint" style={{ margin: 0 }}>
        {user ? t('Without roles it is worth what {name} may.', { name: user }) : t('Without roles it may do everything.')}
      </p>
      <SelectField
        label={t('Expires')}
        value={days}
        set={setDays}
        options={[
          ['', t('never')],
          ['7', t('in a week')],
          ['30', t('in a month')],
          ['365', t('in a year')],
        ]}
      />
      <Command text={['hull token create', user && `--user ${user}`, ...roles.map((it) => `--role ${grantText(it)}`), days && `--expires ${days}d`, name || 'NAME'].filter(Boolean).join(' ')} />
    </FormDialog>
  )
}

