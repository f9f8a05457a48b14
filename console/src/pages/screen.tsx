// A machine's screen, by the remote framebuffer protocol. Each connection is opened with a ticket of its
// own, as a browser cannot send a token with a WebSocket.

import RFB from '@novnc/novnc'
import { useEffect, useRef, useState } from 'react'
import { post, socketAddress } from '../api/http'
import { objectPath, type Instance } from '../api/objects'
import { Problem } from '../api/problem'
import { t } from '../i18n'
import { Command, ProblemNote } from '../ui/parts'

export default function Screen({ instance }: { instance: Instance }) {
  const [round, setRound] = useState(0)
  const [over, setOver] = useState<Problem>()
  const [rfb, setRfb] = useState<RFB>()
  if (instance.status?.phase !== 'running' && !over) return <p className="faint">{t('The screen is there while the machine runs.')}</p>
  return (
    <>
      <div className="row wrap" style={{ marginBottom: 10 }}>
        <button className="button small" disabled={!rfb} onClick={() => rfb?.sendCtrlAltDel()}>
          Ctrl+Alt+Del
        </button>
        <button className="button small" disabled={!rfb} onClick={() => rfb?.focus()}>
          {t('Type into it')}
        </button>
        {over && (
          <button
            className="button small"
            onClick={() => {
              setOver(undefined)
              setRound(round + 1)
            }}
          >
            {t('Connect again')}
          </button>
        )}
      </div>
      {over && <ProblemNote error={over} />}
      <View key={round} instance={instance} over={setOver} ready={setRfb} />
      <div style={{ marginTop: 10 }}>
        <Command text={`hull console --vnc ${instance.meta.name}`} />
      </div>
    </>
  )
}

function View({ instance, over, ready }: { instance: Instance; over: (problem: Problem) => void; ready: (rfb?: RFB) => void }) {
  const place = useRef<HTMLDivElement>(null)
  const path = objectPath(instance.meta, 'instances')
  useEffect(() => {
    let rfb: RFB | undefined
    let gone = false
    const connect = async () => {
      try {
        const { ticket } = await post<{ ticket: string }>(`${path}/console`)
        if (gone || !place.current) return
        rfb = new RFB(place.current, socketAddress(`${path}/console/vnc`, { ticket }), { wsProtocols: ['binary'] })
        rfb.scaleViewport = true
        rfb.background = '#05080b'
        rfb.addEventListener('connect', () => ready(rfb))
        rfb.addEventListener('disconnect', () => {
          ready(undefined)
          if (!gone) over(new Problem({ kind: 'unavailable', detail: t('The connection to the screen has ended.') }))
        })
      } catch (error) {
        if (!gone) over(Problem.from(error))
      }
    }
    void connect()
    return () => {
      gone = true
      ready(undefined)
      rfb?.disconnect()
    }
  }, [path, over, ready])
  return (
    <div className="screen">
      <div ref={place} aria-label={t('Screen of {name}', { name: instance.meta.name })} role="group" />
    </div>
  )
}
