// Why something was refused or failed, as the API tells it (RFC 9457).

export class Problem extends Error {
  readonly status: number
  readonly kind: string
  readonly field?: string
  readonly next?: string

  constructor(told: { status?: number; detail?: string; title?: string; kind?: string; field?: string | null; next?: string | null }) {
    super(told.detail || told.title || 'it failed without saying why')
    this.status = told.status ?? 0
    this.kind = told.kind ?? 'internal'
    this.field = told.field ?? undefined
    this.next = told.next ?? undefined
  }

  /** The server did not answer at all. */
  static unreachable(cause?: unknown): Problem {
    const problem = new Problem({ kind: 'unavailable', detail: 'hull does not answer', next: 'the page tries again by itself' })
    problem.cause = cause
    return problem
  }

  static from(error: unknown): Problem {
    if (error instanceof Problem) return error
    if (error instanceof TypeError) return Problem.unreachable(error)
    return new Problem({ detail: error instanceof Error ? error.message : String(error) })
  }

  static async of(response: Response): Promise<Problem> {
    try {
      return new Problem({ status: response.status, ...(await response.json()) })
    } catch {
      return new Problem({ status: response.status, detail: `hull answered with ${response.status}` })
    }
  }
}
