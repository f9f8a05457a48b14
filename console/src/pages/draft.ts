// What the form of something new asks for, as the API and as the command line have it.

import type { Mount, Port } from '../api/objects'

export type Restart = 'no' | 'onFailure' | 'always' | 'unlessStopped'

export interface Form {
  kind: 'instance' | 'service'
  name: string
  image: string
  command: string
  ports: string
  env: string
  volumes: string
  network: string
  cpus: string
  memory: string
  restart: Restart
  labels: string
  replicas: string
  /** Asked of a machine only. */
  rootSize: string
  sshKey: string
  userData: string
}

export const EMPTY: Form = {
  kind: 'instance',
  name: '',
  image: '',
  command: '',
  ports: '',
  env: '',
  volumes: '',
  network: '',
  cpus: '',
  memory: '',
  restart: 'no',
  labels: '',
  replicas: '2',
  rootSize: '',
  sshKey: '',
  userData: '',
}

/** What is wrong with a field, if anything. */
export type Faults = Partial<Record<keyof Form, string>>

const lines = (text: string) => text.split('\n').map((line) => line.trim()).filter(Boolean)

/** Words as a shell parts them: quotes hold together, nothing is expanded. */
export function words(text: string): string[] {
  const found: string[] = []
  let word: string | undefined
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (quote) {
      if (c === quote) quote = ''
      else if (c === '\\' && quote === '"' && '"\\'.includes(text[i + 1] ?? '')) word += text[++i]
      else word += c
    } else if (c === '"' || c === "'") {
      quote = c
      word ??= ''
    } else if (/\s/.test(c)) {
      if (word !== undefined) found.push(word)
      word = undefined
    } else if (c === '\\' && i + 1 < text.length) {
      word = (word ?? '') + text[++i]
    } else {
      word = (word ?? '') + c
    }
  }
  if (word !== undefined) found.push(word)
  return found
}

/** A word as one has to write it for a shell. */
export const quoted = (word: string): string => (/^[\w@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)

const PORT = /^(?:(\d{1,5}):)?(\d{1,5})(?:\/(tcp|udp))?$/

export function readPort(text: string): Port | undefined {
  const [, host, target, protocol] = PORT.exec(text) ?? []
  if (!target || Number(target) > 65535 || Number(host ?? 0) > 65535) return undefined
  return { host: host ? Number(host) : null, target: Number(target), protocol: (protocol ?? 'tcp') as Port['protocol'] } as Port
}

export function readMount(text: string): Mount | undefined {
  const parts = text.split(':')
  const [source, target, options] = parts.length === 1 ? ['', parts[0], ''] : [parts[0], parts[1], parts[2] ?? '']
  if (parts.length > 3 || !target?.startsWith('/') || !['', 'ro', 'rw'].includes(options)) return undefined
  const kind = source.startsWith('/') ? { type: 'bind', source, create: true } : { type: 'volume', name: source }
  return { ...kind, target, readOnly: options === 'ro' } as Mount
}

function label(text: string): [string, string] {
  const at = text.indexOf('=')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

export function check(form: Form): Faults {
  const faults: Faults = {}
  const bad = (field: keyof Form, list: string[], read: (text: string) => unknown) => {
    const wrong = list.find((it) => read(it) === undefined)
    if (wrong !== undefined) faults[field] = wrong
  }
  bad('ports', lines(form.ports), readPort)
  bad('volumes', lines(form.volumes), readMount)
  bad('env', lines(form.env), (it) => (/^[^=\s]+=/.test(it) ? it : undefined))
  if (form.cpus && !/^\d+(\.\d{1,3})?$/.test(form.cpus)) faults.cpus = form.cpus
  if (form.memory && !/^\d+(\.\d+)?\s*[kmgt]?i?b?$/i.test(form.memory)) faults.memory = form.memory
  if (form.rootSize && !/^\d+(\.\d+)?\s*[kmgt]?i?b?$/i.test(form.rootSize)) faults.rootSize = form.rootSize
  if (form.kind === 'service' && !/^\d{1,5}$/.test(form.replicas)) faults.replicas = form.replicas
  return faults
}

const restartPolicy = (restart: Restart) => (restart === 'onFailure' ? { onFailure: {} } : restart)

/** What is asked of the instance, or of each of a service's. */
function instanceSpec(form: Form, machine: boolean): object {
  const mounts = lines(form.volumes).map(readMount)
  const [ports, env, command] = [lines(form.ports).map(readPort), lines(form.env), words(form.command)]
  const resources = { ...(form.cpus ? { cpus: form.cpus } : {}), ...(form.memory ? { memory: form.memory } : {}) }
  const container = {
    name: 'main',
    image: form.image.trim(),
    ...(command.length ? { command } : {}),
    ...(env.length ? { env } : {}),
    ...(mounts.length ? { mounts } : {}),
    ...(Object.keys(resources).length ? { resources } : {}),
  }
  const first = { ...(form.sshKey.trim() ? { sshKeys: lines(form.sshKey) } : {}), ...(form.userData.trim() ? { userData: form.userData } : {}) }
  const asked = { ...(form.rootSize ? { rootSize: form.rootSize } : {}), ...(Object.keys(first).length ? { cloudInit: first } : {}) }
  return {
    containers: [container],
    ...(ports.length ? { ports } : {}),
    ...(form.network ? { network: { mode: 'networks', attachments: [{ network: form.network }] } } : {}),
    ...(form.restart !== 'no' ? { restart: restartPolicy(form.restart) } : {}),
    ...(machine && Object.keys(asked).length ? { machine: asked } : {}),
  }
}

/** The body of the request that makes it. */
export function draft(form: Form, machine: boolean): object {
  const labels = Object.fromEntries(lines(form.labels).map(label))
  const meta = { name: form.name.trim(), ...(Object.keys(labels).length ? { labels } : {}) }
  if (form.kind === 'instance') return { meta, spec: instanceSpec(form, machine) }
  return {
    meta,
    spec: {
      template: { spec: instanceSpec(form, machine), ...(Object.keys(labels).length ? { labels } : {}) },
      mode: { replicated: { replicas: Number(form.replicas) } },
    },
  }
}

/** The same on the command line. */
export function commandLine(form: Form, machine: boolean, project: string): string {
  const service = form.kind === 'service'
  const parts: string[][] = [service ? ['hull', 'service', 'create'] : ['hull', 'run', '-d']]
  const add = (...flag: string[]) => parts.push(flag)
  if (project !== 'default') add('--project', project)
  if (form.name) add('--name', form.name)
  if (service) add('--replicas', form.replicas || '1')
  for (const it of lines(form.ports)) add('-p', it)
  for (const it of lines(form.env)) add('-e', it)
  for (const it of lines(form.volumes)) add('-v', it)
  if (form.network) add('--network', form.network)
  if (form.cpus) add('--cpus', form.cpus)
  if (form.memory) add('--memory', form.memory)
  if (form.restart !== 'no') add('--restart', { onFailure: 'on-failure', always: 'always', unlessStopped: 'unless-stopped' }[form.restart])
  for (const it of lines(form.labels)) add('-l', it)
  if (machine && form.rootSize) add('--root-size', form.rootSize)
  if (machine && form.sshKey.trim()) add('--ssh-key', 'key.pub')
  if (machine && form.userData.trim()) add('--cloud-init', 'first-boot.yaml')
  parts.push([form.image.trim() || 'IMAGE', ...words(form.command)])
  const written = parts.map((part) => part.map(quoted).join(' '))
  const line = written.join(' ')
  return line.length <= 78 ? line : written.join(' \\\n    ')
}
