// Words in the language of whoever reads them. English is the key; each other language has every word,
// which the compiler checks.

import { useSyncExternalStore } from 'react'
import { zh } from './zh'

export type Word = keyof typeof zh
export type Language = 'en' | 'zh'

const KEPT = 'hull.language'
const listeners = new Set<() => void>()
let language: Language = chosen()

function chosen(): Language {
  const kept = localStorage.getItem(KEPT)
  if (kept === 'en' || kept === 'zh') return kept
  return navigator.languages.find((it) => /^(en|zh)\b/i.test(it))?.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

export function currentLanguage(): Language {
  return language
}

export function choose(next: Language): void {
  language = next
  localStorage.setItem(KEPT, next)
  mark()
  for (const listener of listeners) listener()
}

export function mark(): void {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en'
}

/** The word, with `{name}` replaced by what is given. */
export function t(word: Word, values: Record<string, string | number> = {}): string {
  const text: string = language === 'zh' ? zh[word] : word
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole))
}

export function useLanguage(): Language {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    currentLanguage,
  )
}

const locale = () => (language === 'zh' ? 'zh-CN' : 'en')

export function formatTime(time: string | number): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(time))
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
]

/** How long ago, in its largest unit. */
export function formatAge(time: string, now: number): string {
  const seconds = Math.max(0, (now - new Date(time).getTime()) / 1000)
  const [unit, size] = STEPS.find(([, it]) => seconds >= it) ?? STEPS[STEPS.length - 1]
  return new Intl.NumberFormat(locale(), { style: 'unit', unit: unit as string, unitDisplay: 'narrow' }).format(Math.floor(seconds / size))
}

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** Bytes in binary units, as everywhere in hull. */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0]
  while (value >= 1024 && unit < SIZES.length - 1) {
    value /= 1024
    unit++
  }
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${SIZES[unit]}`
}
