// Whether the server answers, for all that hangs on it: when it is tried again, what the page says, and
// whether it is still the server that this page came from.

import { useSyncExternalStore } from 'react'

export type State = 'live' | 'lost'

const SLOWEST = 10_000

class Connection {
  #lost = new Set<object>()
  #listeners = new Set<() => void>()
  #wakers = new Set<() => void>()
  #upgraded = false

  constructor() {
    for (const event of ['online', 'focus'] as const) window.addEventListener(event, () => this.wake())
    document.addEventListener('visibilitychange', () => document.hidden || this.wake())
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  state = (): State => (this.#lost.size > 0 ? 'lost' : 'live')

  /** The server has another console than this page is of. */
  upgraded = (): boolean => this.#upgraded

  lose(who: object): void {
    this.#lost.add(who)
    this.#tell()
  }

  settle(who: object): void {
    if (!this.#lost.delete(who)) return
    this.#tell()
    if (this.#lost.size === 0) void this.#look()
  }

  /** Tries everything again at once. */
  wake(): void {
    for (const waker of [...this.#wakers]) waker()
  }

  /** Waits before the next try: longer each time, not for all tabs alike. */
  pause(tries: number, signal: AbortSignal): Promise<void> {
    const time = Math.min(SLOWEST, 300 * 2 ** Math.min(tries, 6)) * (0.75 + Math.random() / 2)
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        this.#wakers.delete(end)
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, time)
      this.#wakers.add(end)
      signal.addEventListener('abort', end)
    })
  }

  /** A server that came back may be another version: its page then names other files. */
  async #look(): Promise<void> {
    const own = document.querySelector<HTMLScriptElement>('script[type="module"]')?.src
    if (!own) return
    try {
      const page = await (await fetch('/console/', { cache: 'no-store' })).text()
      if (page.includes('assets/') && !page.includes(new URL(own).pathname)) {
        this.#upgraded = true
        this.#tell()
      }
    } catch {
      // It went away again; the next time it comes back is another look.
    }
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }
}

export const connection = new Connection()

export const useConnection = (): State => useSyncExternalStore(connection.subscribe, connection.state)
export const useUpgraded = (): boolean => useSyncExternalStore(connection.subscribe, connection.upgraded)
