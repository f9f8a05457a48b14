// Which project's objects are shown; all of them unless somebody chose one.

import { useSyncExternalStore } from 'react'

const KEPT = 'hull.project'
const listeners = new Set<() => void>()
let project = localStorage.getItem(KEPT) ?? ''

export function chooseProject(next: string): void {
  project = next
  localStorage.setItem(KEPT, next)
  for (const listener of listeners) listener()
}

/** The project's name; empty for all. */
export function useProject(): string {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => project,
  )
}

export function inProject<T extends { meta: { project: string } }>(items: readonly T[], chosen: string): readonly T[] {
  return chosen === '' ? items : items.filter((it) => it.meta.project === chosen)
}

/** Where something new belongs. */
export function projectForNew(): string {
  return project || 'default'
}
