// All objects of a noun, kept as they are now by a watch. Nobody asks again and again: the server tells
// what changes, and a watch that breaks is begun anew by itself.

import { useEffect, useSyncExternalStore } from 'react'
import { connection } from './connection'
import { send } from './http'
import { readLines } from './lines'
import { Problem } from './problem'

interface Identified {
  meta: { id: string; name: string; project: string; revision: number }
}

interface Change<T> {
  type: 'added' | 'modified' | 'removed' | 'bookmark'
  revision: number
  object?: T
}

export interface Snapshot<T> {
  items: readonly T[]
  /** Everything there is has been told at least once. */
  complete: boolean
  problem?: Problem
}

/** A watch nobody looks at any more goes on so long, so that going back and forth costs nothing. */
const LINGER = 30_000
/** A quiet watch says every minute that it is alive. */
const SILENCE = 100_000

export class Collection<T extends Identified> {
  readonly path: string
  #objects = new Map<string, T>()
  #snapshot: Snapshot<T> = { items: [], complete: false }
  #listeners = new Set<() => void>()
  #watch?: AbortController
  #linger?: ReturnType<typeof setTimeout>
  #frame = false

  constructor(path: string) {
    this.path = path
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    clearTimeout(this.#linger)
    if (!this.#watch) void this.#run((this.#watch = new AbortController()))
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#linger = setTimeout(() => this.close(), LINGER)
    }
  }

  get = (): Snapshot<T> => this.#snapshot

  /** Forgets everything: somebody else may sign in. */
  close(): void {
    this.#watch?.abort()
    this.#watch = undefined
    this.#objects = new Map()
    this.#snapshot = { items: [], complete: false }
    connection.settle(this)
  }

  async #run(watch: AbortController): Promise<void> {
    for (let tries = 0; !watch.signal.aborted; tries++) {
      try {
        await this.#follow(watch, () => (tries = 0))
        throw Problem.unreachable()
      } catch (error) {
        if (watch.signal.aborted) return
        const problem = Problem.from(error)
        this.#publish({ ...this.#snapshot, problem })
        connection.lose(this)
        await connection.pause(tries, watch.signal)
      }
    }
  }

  /** One watch from its beginning. What is there is replaced as a whole once all of it was told. */
  async #follow(watch: AbortController, alive: () => void): Promise<void> {
    const silence = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const heard = () => {
      clearTimeout(timer)
      timer = setTimeout(() => silence.abort(), SILENCE)
    }
    heard()
    try {
      const signal = AbortSignal.any([watch.signal, silence.signal])
      const response = await send('GET', this.path, { query: { watch: true }, signal })
      let next: Map<string, T> | undefined = new Map()
      await readLines<Change<T>>(response, (changes) => {
        heard()
        for (const change of changes) {
          if (change.type === 'bookmark' && next) {
            this.#objects = next
            next = undefined
            alive()
            connection.settle(this)
          }
          if (change.object) apply(next ?? this.#objects, change)
        }
        if (!next) this.#schedule()
      })
    } catch (error) {
      if (silence.signal.aborted) throw Problem.unreachable(error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Many changes at once are shown once. */
  #schedule(): void {
    if (this.#frame) return
    this.#frame = true
    const show = () => {
      this.#frame = false
      const items = [...this.#objects.values()].sort(byName)
      this.#publish({ items, complete: true })
    }
    // A hidden tab draws no frames.
    if (document.hidden) setTimeout(show, 200)
    else requestAnimationFrame(show)
  }

  #publish(snapshot: Snapshot<T>): void {
    this.#snapshot = snapshot
    for (const listener of this.#listeners) listener()
  }
}

function apply<T extends Identified>(objects: Map<string, T>, change: Change<T>): void {
  const object = change.object as T
  if (change.type === 'removed') objects.delete(object.meta.id)
  else objects.set(object.meta.id, object)
}

const order = new Intl.Collator('en', { numeric: true })

function byName<T extends Identified>(one: T, two: T): number {
  return order.compare(one.meta.name, two.meta.name) || order.compare(one.meta.project, two.meta.project)
}

export function useCollection<T extends Identified>(collection: Collection<T>): Snapshot<T> {
  return useSyncExternalStore(collection.subscribe, collection.get)
}

/** The object of that name; undefined while it is not known, null when there is none. */
export function useObject<T extends Identified>(collection: Collection<T>, name: string, project = ''): T | undefined | null {
  const { items, complete } = useCollection(collection)
  const found = items.find((it) => it.meta.name === name && it.meta.project === project)
  return found ?? (complete ? null : undefined)
}

/** Keeps a collection open for as long as a page is. */
export function useWarm<T extends Identified>(collection: Collection<T>): void {
  useEffect(() => collection.subscribe(() => {}), [collection])
}
