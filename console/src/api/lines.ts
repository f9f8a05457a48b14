// Answers of a JSON value a line. One that fails in the middle ends with a line that says so.

import { Problem } from './problem'

/** Lines out of pieces of text, wherever they are cut. */
export class Splitter {
  #rest = ''

  take(piece: string): string[] {
    const lines = (this.#rest + piece).split('\n')
    this.#rest = lines.pop() ?? ''
    return lines.filter((line) => line.trim() !== '')
  }
}

/** Hands over the values of each piece together as they arrive, until the answer ends. */
export async function readLines<T>(response: Response, take: (values: T[]) => void): Promise<void> {
  if (!response.body) return
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  const splitter = new Splitter()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const values = splitter.take(value).map((line) => JSON.parse(line))
    const failure = values.find((it) => it && typeof it === 'object' && 'error' in it && !('type' in it))
    if (failure) throw new Problem(failure.error)
    if (values.length > 0) take(values)
  }
}
