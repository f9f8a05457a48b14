import { useState } from 'react'
import { ask, signIn, type Session } from '../api/session'
import { choose, currentLanguage, t } from '../i18n'
import icon from '../icon.svg'
import { Command, ProblemNote, TextField, WarningNote } from '../ui/parts'

export function SignIn({ session }: { session: Session }) {
  const [token, setToken] = useState('')
  const [problem, setProblem] = useState<unknown>()
  const [busy, setBusy] = useState(false)
  const submit = async () => {
    setBusy(true)
    try {
      await signIn(token)
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
        <TextField label={t('Token')} type="password" value={token} set={setToken} placeholder="hull_…" autoFocus required />
        {problem !== undefined && <ProblemNote error={problem} />}
        <button className="button primary" disabled={busy || token.trim() === ''}>
          {t('Sign in')}
        </button>
        <div className="stack" style={{ gap: 8 }}>
          <p className="faint" style={{ margin: 0 }}>
            {t('The first start of a node makes a token for its administrator. On the machine itself, as root:')}
          </p>
          <Command text="cat /etc/hull/admin.token" />
          <p className="faint" style={{ margin: 0 }}>
            {t('One of your own:')}
          </p>
          <Command text="hull token create my-browser" />
        </div>
      </form>
    </main>
  )
}
