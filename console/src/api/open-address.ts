// Where an installed app is opened.

import type { TemplateVersion } from './templates'

/** What an app of this version is opened at in a browser that reached this node as `host`; nothing where the template tells none. */
export function openAddress({ open, questions }: Pick<TemplateVersion, 'open' | 'questions'>, answers: Record<string, string>, host: string): string | undefined {
  if (!open) return undefined
  const defaults = new Map((questions ?? []).map((it) => [it.variable, it.default ?? '']))
  const text = open.replace(/\bHOST\b/g, host.includes(':') && !host.startsWith('[') ? `[${host}]` : host).replace(/\$\{(\w+)\}/g, (_, name: string) => answers[name] ?? defaults.get(name) ?? '')
  // Templates are by people whom nobody here knows.
  try {
    const { protocol, href } = new URL(text)
    return protocol === 'http:' || protocol === 'https:' ? href : undefined
  } catch {
    return undefined
  }
}
