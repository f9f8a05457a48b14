// What can be done to instances, one at a time or many together.

import { Pause, Play, RotateCw, Snowflake, Square, Trash2, type LucideIcon } from 'lucide-react'
import type { Word } from '../i18n'
import { post, remove } from './http'
import { objectPath, type Instance, type Phase } from './objects'

export interface Verb {
  word: Word
  icon: LucideIcon
  /** Whether it makes sense now. */
  fits: (instance: Instance) => boolean
  act: (instance: Instance) => Promise<unknown>
  danger?: boolean
}

const phase = (instance: Instance): Phase => instance.status?.phase ?? 'pending'
const path = (instance: Instance) => objectPath(instance.meta, 'instances')
const going = (instance: Instance) => Boolean(instance.meta.deleted)

export const start: Verb = {
  word: 'Start',
  icon: Play,
  fits: (it) => !going(it) && (['exited', 'failed'].includes(phase(it)) || it.spec.run === 'stopped'),
  act: (it) => post(`${path(it)}/start`),
}

export const stop: Verb = {
  word: 'Stop',
  icon: Square,
  fits: (it) => !going(it) && it.spec.run !== 'stopped' && !['exited', 'failed'].includes(phase(it)),
  act: (it) => post(`${path(it)}/stop`),
}

export const restart: Verb = {
  word: 'Restart',
  icon: RotateCw,
  fits: (it) => !going(it) && phase(it) === 'running',
  act: (it) => post(`${path(it)}/restart`),
}

export const pause: Verb = {
  word: 'Pause',
  icon: Pause,
  fits: (it) => !going(it) && phase(it) === 'running' && it.spec.run === 'running',
  act: (it) => post(`${path(it)}/pause`),
}

export const unpause: Verb = {
  word: 'Unpause',
  icon: Snowflake,
  fits: (it) => !going(it) && it.spec.run === 'paused',
  act: (it) => post(`${path(it)}/unpause`),
}

export const removal: Verb = {
  word: 'Remove',
  icon: Trash2,
  fits: (it) => !going(it),
  act: (it) => remove(path(it), { force: true }),
  danger: true,
}

export const verbs: readonly Verb[] = [start, stop, restart, pause, unpause, removal]
