import { Plus, RefreshCw, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { useCollection } from '../api/collection'
import { post, remove } from '../api/http'
import { objectPath, tokens, type Token } from '../api/objects'
import { formatTime, t } from '../i18n'
import { ActionMenu, Dialog, FormDialog } from '../ui/dialog'
import { Age, Badge, Command, Head, Loading, ProblemNote, SelectField, TextField } from '../ui/parts'
import { Table, type Column } from '../ui/table'

type Asked = { verb: 'renew' | 'remove'; token: Token }

export function Tokens() {
  const { items, complete, problem } = useCollection(tokens)
  const [creating, setCreating] = useState(false)
  const [asked, ask] = useState<Asked>()
  const [secret, setSecret] = useState<string>()
  if (!complete) return problem ? <ProblemNote error={problem} /> : <Loading />
  const columns: Column<Token>[] = [
    { key: 'name', title: t('Name'), width: 'minmax(120px, 1fr)', lead: true, cell: (it) => <b>{it.meta.name}</b> },
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
        {t('A token is who somebody is, for the command line, the API and this console. There are no users and roles apart from tokens yet: make one for each person and program. Each may do everything.')}
      </p>
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
  const expires = days === '' ? undefined : new Date(Date.now() + DAYS[days] * 86_400_000).toISOString()
  return (
    <FormDialog open={open} close={close} title={t('Create a token')} verb={t('Create')} ready={name.trim() !== ''} act={async () => made((await post<{ secret: string }>('/v1/tokens', { name: name.trim(), description, expires })).secret)}>
      <TextField label={t('Name')} value={name} set={setName} autoFocus required />
      <TextField label={t('About')} value={description} set={setDescription} hint={t('What for, or whose.')} />
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
      <Command text={['hull token create', days && `--expires ${days}d`, name || 'NAME'].filter(Boolean).join(' ')} />
    </FormDialog>
  )
}

