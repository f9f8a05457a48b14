// Logs as frames: a header of 16 bytes and a payload (docs of the API, "Logs are frames").

import { Problem } from './problem'

export interface LogLine {
  /** Counts up, for keys. */
  number: number
  /** Milliseconds since 1970. */
  time: number
  stderr: boolean
  text: string
}

const HEADER = 16
const MOST = 16 << 20
const PROBLEM = 3

/** Whole lines out of frames, wherever the bytes are cut. */
export class LogReader {
  #bytes = new Uint8Array(0)
  #open: Record<number, { time: number; text: string }> = {}
  #number = 0
  #decoder = new TextDecoder()

  take(piece: Uint8Array): LogLine[] {
    const bytes = new Uint8Array(this.#bytes.length + piece.length)
    bytes.set(this.#bytes)
    bytes.set(piece, this.#bytes.length)
    const view = new DataView(bytes.buffer)
    const lines: LogLine[] = []
    let at = 0
    while (bytes.length - at >= HEADER) {
      const length = view.getUint32(at + 4)
      if (length > MOST) throw new Problem({ detail: 'the log is not in frames' })
      if (bytes.length - at < HEADER + length) break
      const payload = this.#decoder.decode(bytes.subarray(at + HEADER, at + HEADER + length))
      if (bytes[at] === PROBLEM) throw new Problem(JSON.parse(payload))
      const time = Number(view.getBigInt64(at + 8) / 1_000_000n)
      this.#put(bytes[at], time, payload, (bytes[at + 1] & 1) === 1, lines)
      at += HEADER + length
    }
    this.#bytes = bytes.slice(at)
    return lines
  }

  /** A record that ends no line is the beginning of one. */
  #put(stream: number, time: number, payload: string, ends: boolean, lines: LogLine[]): void {
    const begun = this.#open[stream]
    const text = (begun?.text ?? '') + payload
    if (!ends) {
      this.#open[stream] = { time: begun?.time ?? time, text }
      return
    }
    delete this.#open[stream]
    const stderr = stream === 2
    lines.push({ number: this.#number++, time: begun?.time ?? time, stderr, text: text.replace(/\r?\n$/, '') })
  }

  /** What was begun and not ended: a prompt, a progress bar. */
  rest(): LogLine[] {
    return Object.entries(this.#open).map(([stream, { time, text }]) => ({
      number: this.#number++,
      time,
      stderr: stream === '2',
      text,
    }))
  }
}
