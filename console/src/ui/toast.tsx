// Short messages about what was done, or why it was not. They are read out (role status / alert).

import { CircleAlert, CircleCheck, X } from 'lucide-react'
import { useSyncExternalStore } from 'react'
import { Problem } from '../api/problem'
import { t } from '../i18n'

interface Toast {
  number: number
  text: string
  next?: string
  bad: boolean
}

let toasts: readonly Toast[] = []
let number = 0
const listeners = new Set<() => void>()

function publish(next: readonly Toast[]): void {
  toasts = next
  for (const listener of listeners) listener()
}

function add(toast: Omit<Toast, 'number'>, time: number): void {
  const added = { ...toast, number: number++ }
  publish([...toasts.slice(-3), added])
  setTimeout(() => dismiss(added.number), time)
}

function dismiss(which: number): void {
  publish(toasts.filter((it) => it.number !== which))
}

export function tell(text: string): void {
  add({ text, bad: false }, 5000)
}

export function complain(error: unknown): void {
  const problem = Problem.from(error)
  add({ text: problem.message, next: problem.next, bad: true }, 15_000)
}

/** Does it, and says so when it cannot be done. Whether it was. */
export async function attempt(what: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await what()
    if (done) tell(done)
    return true
  } catch (error) {
    complain(error)
    return false
  }
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => toasts,
  )
  return (
    <div className="toasts">
      {shown.map((it) => (
        <div key={it.number} className={it.bad ? 'note bad' : 'note'} role={it.bad ? 'alert' : 'status'}>
          {it.bad ? <CircleAlert aria-hidden /> : <CircleCheck aria-hidden />}
          <div className="grow">
            <p>{it.text}</p>
            {it.next && <p className="next">{it.next}</p>}
          </div>
          <button className="button plain small icon" onClick={() => dismiss(it.number)} aria-label={t('Dismiss')}>
            <X aria-hidden />
          </button>
        </div>
      ))}
    </div>
  )
}
