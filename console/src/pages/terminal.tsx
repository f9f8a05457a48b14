// A terminal in a container or a machine's guest: a shell of its own (exec), or the main process itself
// (attach; for a machine its serial line).

import '@xterm/xterm/css/xterm.css'
import { FitAddon } from '@xterm/addon-fit'
import { Terminal as Xterm } from '@xterm/xterm'
import { useEffect, useRef, useState } from 'react'
import { Channel } from '../api/channel'
import { isMachine, objectPath, type Instance } from '../api/objects'
import type { Problem } from '../api/problem'
import { t } from '../i18n'
import { Choices, Command, ProblemNote } from '../ui/parts'

type Way = 'exec' | 'attach'
type Over = { code?: number; problem?: Problem }

export default function Terminal({ instance }: { instance: Instance }) {
  const [way, setWay] = useState<Way>(isMachine(instance) ? 'attach' : 'exec')
  const [shell, setShell] = useState('/bin/sh')
  const [round, setRound] = useState(0)
  const [over, setOver] = useState<Over>()
  const runs = instance.status?.phase === 'running'
  if (!runs && !over) return <p className="faint">{t('A terminal needs an instance that runs.')}</p>
  const again = () => {
    setOver(undefined)
    setRound(round + 1)
  }
  return (
    <>
      <div className="row wrap" style={{ marginBottom: 10 }}>
        <Choices
          label={t('What the terminal speaks to')}
          value={way}
          set={(next) => {
            setWay(next)
            setOver(undefined)
          }}
          options={[
            ['exec', t('A shell')],
            ['attach', isMachine(instance) ? t('The serial line') : t('The main process')],
          ]}
        />
        {way === 'exec' && (
          <select className="select" aria-label={t('Shell')} value={shell} onChange={(event) => setShell(event.target.value)}>
            {['/bin/sh', '/bin/bash', '/bin/ash'].map((it) => (
              <option key={it}>{it}</option>
            ))}
          </select>
        )}
        {over && (
          <button className="button" onClick={again}>
            {t('Connect again')}
          </button>
        )}
        {over && !over.problem && <span className="faint">{t('It ended with {code}.', { code: over.code ?? 0 })}</span>}
      </div>
      {over?.problem && <ProblemNote error={over.problem} />}
      <Session key={`${way} ${shell} ${round}`} instance={instance} way={way} shell={shell} over={setOver} />
      <div style={{ marginTop: 10 }}>
        <Command text={way === 'exec' ? `hull exec -it ${instance.meta.name} ${shell}` : isMachine(instance) ? `hull console ${instance.meta.name}` : `hull attach ${instance.meta.name}`} />
      </div>
    </>
  )
}

function Session({ instance, way, shell, over }: { instance: Instance; way: Way; shell: string; over: (over: Over) => void }) {
  const place = useRef<HTMLDivElement>(null)
  const path = objectPath(instance.meta, 'instances')
  useEffect(() => {
    const terminal = new Xterm({
      cursorBlink: true,
      fontFamily: "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
      fontSize: 13,
      scrollback: 5000,
      screenReaderMode: true,
      theme: { background: '#0d141a', foreground: '#d5e0e8' },
    })
    const fit = new FitAddon()
    terminal.loadAddon(fit)
    terminal.open(place.current as HTMLDivElement)
    fit.fit()
    const size = [terminal.cols, terminal.rows]
    const request = way === 'exec' ? { command: [shell], tty: true, stdin: true, size, env: ['TERM=xterm-256color'] } : { stdin: true, replay: true }
    const channel = new Channel(`${path}/${way}`, {}, request, {
      output: (bytes) => terminal.write(bytes),
      started: () => channel.resize(terminal.cols, terminal.rows),
      ended: (code, problem) => over({ code, problem }),
    })
    terminal.onData((text) => channel.write(text))
    terminal.onResize(({ cols, rows }) => channel.resize(cols, rows))
    const watch = new ResizeObserver(() => fit.fit())
    watch.observe(place.current as HTMLDivElement)
    terminal.focus()
    return () => {
      watch.disconnect()
      channel.close()
      terminal.dispose()
    }
  }, [path, way, shell, over])
  return <div className="terminal" ref={place} aria-label={t('Terminal')} role="group" />
}
