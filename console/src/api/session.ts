// Who is signed in.

import { useSyncExternalStore } from 'react'
import { apps } from './apps'
import { collections } from './objects'
import { get, send, setCsrf, whenSignedOut } from './http'
import { Problem } from './problem'
import type { components } from './schema'

export type SignedIn = components['schemas']['SignedIn']
export type Session = { state: 'asking' } | { state: 'out' } | { state: 'unreachable'; problem: Problem } | ({ state: 'in' } & SignedIn)

let session: Session = { state: 'asking' }
const listeners = new Set<() => void>()
/** Other tabs of this browser have the same cookie. */
const tabs = new BroadcastChannel('hull-session')

function become(next: Session): void {
  session = next
  setCsrf(next.state === 'in' ? next.csrf : '')
  for (const listener of listeners) listener()
}

function leave(): void {
  for (const collection of [...collections, apps]) collection.close()
  become({ state: 'out' })
}

export async function ask(): Promise<void> {
  try {
    become({ state: 'in', ...(await get<SignedIn>('/v1/session')) })
  } catch (error) {
    const problem = Problem.from(error)
    become(problem.status === 0 || problem.status >= 500 ? { state: 'unreachable', problem } : { state: 'out' })
  }
}

export async function signIn(token: string): Promise<void> {
  const secret = token.trim()
  if (!/^[\x21-\x7e]+$/.test(secret)) {
    throw new Problem({ kind: 'unauthenticated', detail: 'this is not a token', next: 'a token begins with hull_' })
  }
  const response = await send('POST', '/v1/session', { headers: { authorization: `Bearer ${secret}` } })
  become({ state: 'in', ...((await response.json()) as SignedIn) })
  tabs.postMessage('in')
}

export async function signOut(): Promise<void> {
  await send('DELETE', '/v1/session').catch(() => undefined)
  leave()
  tabs.postMessage('out')
}

whenSignedOut(() => session.state === 'in' && leave())
tabs.onmessage = ({ data }) => void (data === 'out' ? leave() : session.state !== 'in' && ask())

export function useSession(): Session {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => session,
  )
}
