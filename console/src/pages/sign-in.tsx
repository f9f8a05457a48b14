import { useState } from 'react'
import { ask, signIn, signInWithPassword, type Session } from '../api/session'
import { choose, currentLanguage, t } from '../i18n'
import icon from '../icon.svg'
import { Choices, Command, ProblemNote, TextField, WarningNote } from '../ui/parts'

/** How this browser signed in last. */
const KEPT = 'hull.sign-in'
type Way = 'token' | 'password'

export function SignIn({ session }: { session: Session }) {
  const [way, setWay] = useState<Way>(localStorage.getItem(KEPT) === 'password' ? 'password' : 'token')
  const [token, setToken] = useState('')
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [problem, setProblem] = useState<unknown>()
  const [busy, setBusy] = useState(false)
  const submit = async () => {
    setBusy(true)
    try {
      await (way === 'token' ? signIn(token) : signInWithPassword(name, password))
      localStorage.setItem(KEPT, way)
    } catch (error) {
      setProblem(error)
    } finally {
      setBusy(false)
    }
  }
  return (
    <main className="gate">
      <form
        className="card"
        onSubmit={(event) => {
          event.preventDefault()
          void submit()
        }}
      >
        <div className="row">
          <img src={icon} width={34} height={34} alt="" />
          <h1 className="grow">{t('Sign in to Monohull')}</h1>
          <button type="button" className="button plain small" onClick={() => choose(currentLanguage() === 'zh' ? 'en' : 'zh')} lang={currentLanguage() === 'zh' ? 'en' : 'zh'}>
            {currentLanguage() === 'zh' ? 'English' : '中文'}
          </button>
        </div>
        {session.state === 'out' && session.problem && (
          <WarningNote>
            {t('This browser is signed out, but hull could not be told, and keeps its record until it ends by itself: {why}', { why: session.problem.message })}
          </WarningNote>
        )}
        {session.state === 'unreachable' && <ProblemNote error={session.problem} retry={() => void ask()} />}
        <Choices
          label={t('Sign in with')}
          value={way}
          set={(next) => {
            setWay(next)
            setProblem(undefined)
          }}
          options={[
            ['token', t('Token')],
            ['password', t('Name and password')],
          ]}
        />
        {way === 'token' ? (
          <TextField key="token" label={t('Token')} type="password" value={token} set={setToken} placeholder="hull_…" autoFocus required />
        ) : (
          <>
            <TextField key="name" label={t('Name')} value={name} set={setName} autoFocus required />
            <TextField label={t('Password')} type="password" value={password} set={setPassword} required />
          </>
        )}
        {problem !== undefined && <ProblemNote error={problem} />}
        <button className="button primary" disabled={busy || (way === 'token' ? token.trim() === '' : name.trim() === '' || password === '')}>
          {t('Sign in')}
        </button>
        <div className="stack" style={{ gap: 8 }}>
          {way === 'password' ? (
            <p className="faint" style={{ margin: 0 }}>
              {t('An admin makes users and sets passwords:')}
            </p>
          ) : (
          <p className="faint" style={{ margin: 0 }}>
            {t('The first start of a node makes a token for its administrator. On the machine itself, as root:')}
          </p>
          )}
          <Command text={way === 'password' ? 'hull user create NAME --role viewer' : 'cat /etc/hull/admin.token'} />
          {way === 'token' && (
            <>
              <p className="faint" style={{ margin: 0 }}>
                {t('One of your own:')}
              </p>
              <Command text="hull token create my-browser" />
            </>
          )}
        </div>
      </form>
    </main>
  )
}
