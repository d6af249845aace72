/** What the server answers with instead of a completion, in OpenAI's form. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  readonly type: string
  readonly code: string | null
  /** The field of the request that it is about. */
  readonly param: string | null

  constructor(
    status: number,
    message: string,
    {
      type = 'invalid_request_error',
      code = null,
      param = null,
    }: { type?: string; code?: string | null; param?: string | null } = {},
  ) {
    super(message)
    this.status = status
    this.type = type
    this.code = code
    this.param = param
  }

  /** `{ error: { message, type, param, code } }` */
  toJSON(): object {
    const { message, type, param, code } = this
    return { error: { message, type, param, code } }
  }
}

/** An error as the server answers it: what is no ApiError is its own fault. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new ApiError(500, message, { type: 'server_error' })
}
