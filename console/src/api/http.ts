// Requests to the API of the hull that served this page. The browser sends the session's cookie by
// itself, and to every port of this host; what only a page of this origin can show is the second secret.

import { Problem } from './problem'

export type Query = Record<string, string | number | boolean | undefined>

export interface Call {
  query?: Query
  body?: unknown
  /** Media type of the body when it is not plain JSON. */
  type?: string
  headers?: Record<string, string>
  signal?: AbortSignal
  /** It is how somebody signs in: that it is refused says nothing of who is signed in. */
  signsIn?: boolean
}

const KEPT = 'hull.csrf'
let onSignedOut = () => {}

/** What signing in told: kept for this origin, for all its tabs. */
export function pageSecret(): string {
  return localStorage.getItem(KEPT) ?? ''
}

export function keepPageSecret(value?: string | null): void {
  if (value) localStorage.setItem(KEPT, value)
  else localStorage.removeItem(KEPT)
}

/** Called when the server no longer knows who this browser is. */
export function whenSignedOut(what: () => void): void {
  onSignedOut = what
}

export function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '' && value !== false)
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()
  return text ? `${path}?${text}` : path
}

export async function send(method: string, path: string, call: Call = {}): Promise<Response> {
  const headers: Record<string, string> = { 'hull-csrf': pageSecret(), ...call.headers }
  if (call.body !== undefined) headers['content-type'] = call.type ?? 'application/json'
  let response: Response
  try {
    response = await fetch(address(path, call.query), {
      method,
      headers,
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      signal: call.signal,
      cache: 'no-store',
      credentials: 'same-origin',
    })
  } catch (error) {
    if (call.signal?.aborted) throw error
    throw Problem.unreachable(error)
  }
  if (response.ok) return response
  const problem = await Problem.of(response)
  // Without the secret, which somebody may have cleared, every answer is a refusal.
  if ((problem.status === 401 || pageSecret() === '') && !call.signsIn) onSignedOut()
  throw problem
}

async function json<T>(method: string, path: string, call?: Call): Promise<T> {
  const response = await send(method, path, call)
  return (response.status === 204 ? undefined : await response.json()) as T
}

export const get = <T>(path: string, query?: Query, signal?: AbortSignal) => json<T>('GET', path, { query, signal })
export const post = <T>(path: string, body?: unknown, query?: Query) => json<T>('POST', path, { body: body ?? {}, query })
export const put = <T>(path: string, body: unknown) => json<T>('PUT', path, { body })
export const remove = <T>(path: string, query?: Query) => json<T>('DELETE', path, { query })
export const patch = <T>(path: string, body: unknown, query?: Query, revision?: number) =>
  json<T>('PATCH', path, {
    body,
    query,
    type: 'application/merge-patch+json',
    headers: revision === undefined ? {} : { 'if-match': `"${revision}"` },
  })

/** What a browser would ask for by itself, and cannot: a picture, a download. */
export const getBlob = async (path: string, query?: Query, signal?: AbortSignal) => (await send('GET', path, { query, signal })).blob()

/** Sub-protocols of a WebSocket, which can show the second secret in no other place. */
export function socketProtocols(protocol: string): string[] {
  return [protocol, `v1.csrf.hull.${pageSecret()}`]
}

/** A WebSocket's address on the server of this page. */
export function socketAddress(path: string, query?: Query): string {
  return `wss://${location.host}${address(path, query)}`
}
