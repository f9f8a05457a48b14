// How states are shown: one word and one colour for each, everywhere the same.

import { mainOf, type Instance, type Service } from '../api/objects'
import { t, type Word } from '../i18n'
import { Badge, type Tone } from './parts'

const INSTANCE: Record<string, [Tone, Word]> = {
  pending: ['busy', 'pending'],
  creating: ['busy', 'creating'],
  running: ['good', 'running'],
  paused: ['warn', 'paused'],
  restarting: ['warn', 'restarting'],
  exited: ['none', 'exited'],
  failed: ['bad', 'failed'],
  removing: ['busy', 'removing'],
}

/** What the list can be filtered by, and what it shows. */
export function stateOf(instance: Instance): string {
  const phase = instance.status?.phase ?? 'pending'
  if (instance.meta.deleted) return 'removing'
  if (phase === 'running' && instance.status?.health === 'unhealthy') return 'unhealthy'
  return phase
}

export const needsLook = (instance: Instance): boolean => ['failed', 'restarting', 'unhealthy'].includes(stateOf(instance)) || (stateOf(instance) === 'exited' && exitCode(instance) !== 0)

export function exitCode(instance: Instance): number {
  return instance.status?.containers?.find((it) => it.name === mainOf(instance.spec)?.name)?.exitCode ?? 0
}

/** The colour of its state, for what shows it by colour. */
export function toneOf(instance: Instance): Tone {
  const state = stateOf(instance)
  return state === 'unhealthy' || needsLook(instance) ? 'bad' : (INSTANCE[state]?.[0] ?? 'none')
}

export function InstanceState({ instance }: { instance: Instance }) {
  const state = stateOf(instance)
  const health = instance.status?.health
  if (state === 'unhealthy') return <Badge tone="bad">{t('unhealthy')}</Badge>
  if (state === 'pending' && instance.spec.run === 'stopped') return <Badge tone="none">{t('created')}</Badge>
  if (state === 'running' && health === 'healthy') return <Badge tone="good">{t('healthy')}</Badge>
  if (state === 'running' && health === 'starting') return <Badge tone="busy">{t('starting')}</Badge>
  if (state === 'exited' && exitCode(instance) !== 0) return <Badge tone="bad">{t('exited with {code}', { code: exitCode(instance) })}</Badge>
  const [tone, word] = INSTANCE[state] ?? ['none', 'pending']
  return <Badge tone={tone}>{t(word)}</Badge>
}

const SERVICE: Record<string, [Tone, Word]> = {
  pending: ['busy', 'pending'],
  steady: ['good', 'steady'],
  updating: ['busy', 'updating'],
  paused: ['warn', 'paused'],
  rollingBack: ['warn', 'rolling back'],
  rolledBack: ['warn', 'rolled back'],
  scheduled: ['good', 'scheduled'],
  complete: ['good', 'complete'],
  failed: ['bad', 'failed'],
  removing: ['busy', 'removing'],
}

export function ServiceState({ service }: { service: Service }) {
  const { phase = 'pending', ready = 0, wanted = 0 } = service.status ?? {}
  if (phase === 'steady' && ready < wanted) return <Badge tone="busy">{t('starting')}</Badge>
  const [tone, word] = SERVICE[phase] ?? ['none', 'pending']
  return <Badge tone={tone}>{t(word)}</Badge>
}
