// Who is signed in.

import { useSyncExternalStore } from 'react'
import { collections } from './objects'
import { get, keepPageSecret, pageSecret, send, whenSignedOut } from './http'
import { Problem } from './problem'
import type { components } from './schema'

export type SignedIn = components['schemas']['SignedIn']
export type Session = { state: 'asking' } | { state: 'out'; problem?: Problem } | { state: 'unreachable'; problem: Problem } | ({ state: 'in' } & SignedIn)

let session: Session = { state: 'asking' }
const listeners = new Set<() => void>()
/** Other tabs of this browser have the same cookie. */
const tabs = new BroadcastChannel('hull-session')

function become(next: Session): void {
  session = next
  for (const listener of listeners) listener()
}

function leave(problem?: Problem): void {
  for (const collection of collections) collection.close()
  become({ state: 'out', problem })
}

export async function ask(): Promise<void> {
  if (pageSecret() === '') return become({ state: 'out' })
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
  await begin(await send('POST', '/v1/session', { headers: { authorization: `Bearer ${secret}` }, signsIn: true }))
}

export async function signInWithPassword(name: string, password: string): Promise<void> {
  await begin(await send('POST', '/v1/session/password', { body: { name: name.trim(), password }, signsIn: true }))
}

async function begin(response: Response): Promise<void> {
  const { csrf, ...told } = (await response.json()) as SignedIn
  keepPageSecret(csrf)
  become({ state: 'in', ...told })
  tabs.postMessage('in')
}

/** Nobody goes on at this browser, also when the server cannot be told: without the secret the cookie is worth nothing. */
export async function signOut(): Promise<void> {
  const failed = await send('DELETE', '/v1/session').then(
    () => undefined,
    (error: unknown) => Problem.from(error),
  )
  keepPageSecret()
  leave(failed && failed.status !== 401 ? failed : undefined)
  tabs.postMessage('out')
}

/** The server signed this browser out by what was asked of it: another password. */
export function wasSignedOut(): void {
  keepPageSecret()
  leave()
  tabs.postMessage('out')
}

whenSignedOut(() => session.state === 'in' && leave())
tabs.onmessage = ({ data }) => void (data === 'out' ? leave() : session.state !== 'in' && ask())

/** Whether whoever is signed in may do everything. */
export function useAdmin(): boolean {
  const session = useSession()
  return session.state === 'in' && session.admin === true
}

export function useSession(): Session {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => session,
  )
}
