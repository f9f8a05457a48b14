// A stream of the server's, read for as long as a page wants it.

import { connection } from './connection'
import { Problem } from './problem'

/**
 * Reads a stream, and reads it anew when it broke off, until `signal` says to stop or the server refuses it. `read`
 * says `alive` when the server told something, and whether it goes on after its end. `tell` hears why it broke off.
 */
export async function followStream(
  signal: AbortSignal,
  read: (alive: () => void) => Promise<'again' | 'over'>,
  tell: (problem: Problem) => void,
): Promise<void> {
  for (let tries = 0; !signal.aborted; tries++) {
    try {
      if ((await read(() => (tries = 0))) === 'over') return
    } catch (error) {
      if (signal.aborted) return
      const problem = Problem.from(error)
      tell(problem)
      if (problem.status !== 0 && problem.status < 500) return
    }
    await connection.pause(tries, signal)
  }
}
