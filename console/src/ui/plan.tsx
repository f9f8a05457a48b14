// What a change of an app would do, shown before it is done.

import { useEffect, useState } from 'react'
import type { Deployed, Difference } from '../api/apps'
import { t, type Word } from '../i18n'
import { Dialog } from './dialog'
import { Badge, Loading, ProblemNote, type Tone } from './parts'

const ACTIONS: Record<Difference['action'], [Tone, Word]> = {
  create: ['good', 'created'],
  change: ['busy', 'changed'],
  replace: ['warn', 'replaced'],
  remove: ['bad', 'removed'],
}

interface PlanDialogProps {
  title: string
  verb: string
  close: () => void
  ask: (plan: boolean) => Promise<Deployed>
  done: (deployed: Deployed) => void
}

export function PlanDialog({ title, verb, close, ask, done }: PlanDialogProps) {
  const [plan, setPlan] = useState<Deployed>()
  const [problem, setProblem] = useState<unknown>()
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    let gone = false
    ask(true).then(
      (it) => gone || setPlan(it),
      (error) => gone || setProblem(error),
    )
    return () => {
      gone = true
    }
    // What is asked stays the same while the dialog is open.
  }, [])
  const apply = async () => {
    setBusy(true)
    setProblem(undefined)
    try {
      done(await ask(false))
      close()
    } catch (error) {
      setProblem(error)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Dialog open close={close} title={title} wide>
      {problem !== undefined && <ProblemNote error={problem} />}
      {!plan && problem === undefined && <Loading />}
      {plan && <Changes deployed={plan} />}
      <div className="ends">
        <button className="button" onClick={close}>
          {t('Cancel')}
        </button>
        <button className="button primary" disabled={!plan || busy} onClick={() => void apply()}>
          {verb}
        </button>
      </div>
    </Dialog>
  )
}

/** What is created, changed, replaced and removed, with the reasons. */
export function Changes({ deployed }: { deployed: Deployed }) {
  return (
    <>
      {deployed.changes.length === 0 && <p>{t('Nothing would change.')}</p>}
      <ul className="timeline">
        {deployed.changes.map((it) => (
          <li key={`${it.kind} ${it.key} ${it.action}`}>
            <span style={{ flex: 'none', width: '12ch' }}>
              <Badge tone={ACTIONS[it.action][0]}>{t(ACTIONS[it.action][1])}</Badge>
            </span>
            <div className="grow" style={{ overflowWrap: 'anywhere' }}>
              {it.kind} <b>{it.key || it.name}</b>
              {(it.reasons ?? []).map((reason) => (
                <div key={reason} className="faint">
                  {reason}
                </div>
              ))}
            </div>
          </li>
        ))}
      </ul>
      {(deployed.ignored ?? []).length > 0 && (
        <details>
          <summary>{t('{n} words of the files are not acted on', { n: deployed.ignored?.length ?? 0 })}</summary>
          <ul className="timeline">
            {deployed.ignored?.map((it) => (
              <li key={`${it.file} ${it.line} ${it.what}`}>
                <span className="mono faint">
                  {it.file}:{it.line}
                </span>
                <span>
                  <code>{it.what}</code> {it.why}
                </span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  )
}
