import type { IncomingMessage, ServerResponse } from 'node:http'
import { ApiError } from './apiError.ts'

/** The most bytes that the body of a request may have. */
const bodyLimit = 4 * 2 ** 20

/** Answers with one JSON document, unless an answer has begun or nobody is there to take it. */
export function sendJson(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent || response.destroyed) return
  const bytes = Buffer.from(JSON.stringify(body))
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': bytes.byteLength,
  })
  response.end(bytes)
}

/** Answers with an error; one of the queue says when to come again. */
export function sendError(response: ServerResponse, error: ApiError): void {
  if (response.headersSent) return
  if (error.status === 429) response.setHeader('retry-after', '1')
  sendJson(response, error.status, error.toJSON())
}

/**
 * The JSON document in the body of a request.
 * @throws ApiError if it is too large, or no JSON
 */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  // Pages of other origins may send other types without being asked for leave.
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? ''))
    throw new ApiError(415, "The 'content-type' of a request must be 'application/json'.")
  const parts: Buffer[] = []
  let length = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.byteLength
    if (length > bodyLimit)
      throw new ApiError(413, `The body of a request must have at most ${bodyLimit} bytes.`)
    parts.push(part)
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts)))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ApiError(400, `We could not parse the JSON body of your request: ${reason}`)
  }
}
