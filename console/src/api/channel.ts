// Attach and exec: a WebSocket whose messages begin with a byte that says what follows.

import { socketAddress, socketProtocols, type Query } from './http'
import { Problem } from './problem'

const STDIN = 0
const STDOUT = 1
const STDERR = 2
const STATUS = 3
const RESIZE = 4

export interface Heard {
  output: (bytes: Uint8Array) => void
  started: () => void
  /** It is over: with this exit code, or for this reason. */
  ended: (code: number | undefined, problem?: Problem) => void
}

export class Channel {
  #socket: WebSocket
  #over = false
  /** What was typed before the process ran. */
  #waiting?: Uint8Array<ArrayBuffer>[] = []

  constructor(path: string, query: Query, request: unknown, heard: Heard) {
    const socket = new WebSocket(socketAddress(path, query), socketProtocols('v1.channel.hull'))
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => socket.send(JSON.stringify(request))
    socket.onmessage = ({ data }) => {
      const bytes = new Uint8Array(data as ArrayBuffer)
      const rest = bytes.subarray(1)
      if (bytes[0] === STDOUT || bytes[0] === STDERR) heard.output(rest)
      else if (bytes[0] === STATUS) this.#status(JSON.parse(new TextDecoder().decode(rest)), heard)
    }
    socket.onclose = () => this.#end(heard, undefined, Problem.unreachable())
    this.#socket = socket
  }

  #status(status: { type: string; code?: number; problem?: object }, heard: Heard): void {
    if (status.type === 'ready') {
      // From here on the server takes input; it waits for the process where that is still to start.
      const waiting = this.#waiting ?? []
      this.#waiting = undefined
      waiting.forEach((message) => this.#socket.send(message))
    } else if (status.type === 'started') heard.started()
    else if (status.type === 'exit') this.#end(heard, status.code)
    else if (status.type === 'error') this.#end(heard, undefined, new Problem(status.problem ?? {}))
  }

  #end(heard: Heard, code: number | undefined, problem?: Problem): void {
    if (this.#over) return
    this.#over = true
    heard.ended(code, problem)
  }

  write(text: string): void {
    this.#send(STDIN, new TextEncoder().encode(text))
  }

  resize(width: number, height: number): void {
    this.#send(RESIZE, new TextEncoder().encode(JSON.stringify({ width, height })))
  }

  close(): void {
    this.#over = true
    this.#socket.close()
  }

  #send(channel: number, payload: Uint8Array): void {
    const message = new Uint8Array(payload.length + 1)
    message[0] = channel
    message.set(payload, 1)
    if (this.#waiting) this.#waiting.push(message)
    else if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(message)
  }
}
