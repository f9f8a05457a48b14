import { useQuery } from '@tanstack/react-query'
import { get } from '../api/http'
import type { Status } from '../api/objects'
import { signOut, useSession } from '../api/session'
import { choose, currentLanguage, formatTime, t } from '../i18n'
import { Choices, Command, Facts, Head } from '../ui/parts'
import { chooseTheme, useTheme, type Theme } from '../ui/theme'

export function Settings() {
  const theme = useTheme()
  const session = useSession()
  const { data } = useQuery({ queryKey: ['status'], queryFn: ({ signal }) => get<Status>('/v1/system/status', {}, signal) })
  return (
    <div className="page" style={{ maxWidth: 900 }}>
      <Head title={t('Settings')} />
      <section className="card stack">
        <h2 style={{ margin: 0 }}>{t('This browser')}</h2>
        <div className="row wrap">
          <span className="label" style={{ width: '12ch' }}>
            {t('Colours')}
          </span>
          <Choices<Theme>
            label={t('Colours')}
            value={theme}
            set={chooseTheme}
            options={[
              ['system', t('Colours of the system')],
              ['light', t('Light')],
              ['dark', t('Dark')],
            ]}
          />
        </div>
        <div className="row wrap">
          <span className="label" style={{ width: '12ch' }}>
            {t('Language')}
          </span>
          <Choices
            label={t('Language')}
            value={currentLanguage()}
            set={choose}
            options={[
              ['en', 'English'],
              ['zh', '中文'],
            ]}
          />
        </div>
        {session.state === 'in' && (
          <div className="row wrap">
            <span className="grow">{t('Signed in as {name} until {time}.', { name: session.name, time: formatTime(session.expires) })}</span>
            <button className="button" onClick={() => void signOut()}>
              {t('Sign out')}
            </button>
          </div>
        )}
      </section>
      {data && (
        <section className="card stack">
          <h2 style={{ margin: 0 }}>{t('This node')}</h2>
          <Facts
            facts={[
              [t('Name'), data.node],
              [t('Version'), data.version],
              [t('Addresses'), data.addresses?.join(', ')],
              [t('Certificate authority'), <span className="mono">{data.authority}</span>],
            ]}
          />
          <p className="faint" style={{ margin: 0 }}>
            {t('Settings of a node are in its file hull.toml; the daemon reads it when it starts.')}
          </p>
          <Command text={'hull status\nhull check'} />
        </section>
      )}
      <section className="card stack">
        <h2 style={{ margin: 0 }}>{t("Docker's clients")}</h2>
        <p style={{ margin: 0 }}>{t('The unmodified docker, docker compose and SDKs drive this node, machines included.')}</p>
        <Command text={'eval "$(hull env docker)"\ndocker ps'} />
      </section>
    </div>
  )
}
