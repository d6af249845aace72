import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { BatchSettings } from '../../models/batch/batch.ts'
import { answer } from './answer.ts'
import { ApiError, asApiError } from './apiError.ts'
import { chatRequest, type Served, textRequest } from './request.ts'
import { readJson, sendError, sendJson } from './respond.ts'
import { Scheduler } from './scheduler.ts'
import { chatShape, textShape } from './shapes.ts'

/** What a server serves, and how many at once. */
export interface ServerSettings extends Served, BatchSettings {
  /** Texts that may wait; more are refused with 429. */
  queue: number
  /** What requests must bear, if anything. */
  apiKey?: string
}

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>

/** An OpenAI-compatible server of one model. */
export class CompletionServer {
  readonly scheduler: Scheduler
  private readonly settings: ServerSettings
  private readonly http: Server
  private readonly created = Math.floor(Date.now() / 1000)
  private readonly routes: Readonly<Record<string, Readonly<Record<string, Handler>>>>

  constructor(settings: ServerSettings) {
    this.settings = settings
    const { model, size, capacity, kv, computeDtype, queue } = settings
    this.scheduler = new Scheduler(model, { size, capacity, kv, computeDtype, queue })
    this.routes = {
      '/health': {
        GET: async (_, response) => sendJson(response, 200, { status: 'ok', texts: this.scheduler.count }),
      },
      '/v1/models': {
        GET: async (_, response) => sendJson(response, 200, { object: 'list', data: [this.described()] }),
      },
      '/v1/chat/completions': {
        POST: async (request, response) => {
          const asked = await chatRequest(await readJson(request), settings)
          if (!response.destroyed) answer(asked, chatShape, response, settings, this.scheduler)
        },
      },
      '/v1/completions': {
        POST: async (request, response) => {
          const asked = textRequest(await readJson(request), settings)
          if (!response.destroyed) answer(asked, textShape, response, settings, this.scheduler)
        },
      },
    }
    this.http = createServer((request, response) => void this.handle(request, response))
  }

  /** Resolves to the server's URL once it listens; port 0 takes any that is free. */
  async listen(host: string, port: number): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.http.once('error', reject)
      this.http.listen(port, host, resolve)
    })
    const { address, family, port: taken } = this.http.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`
  }

  /** Ends all answers and gives the memory of the batch back; the model stays the caller's. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.http.close(resolve))
    await this.scheduler.close()
    this.http.closeAllConnections()
    await closed
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      this.checkHost(request)
      this.checkKey(request)
      await this.handlerOf(request)(request, response)
    } catch (error) {
      // What is left of a body that is not read would be taken for the next request.
      if (!request.complete) response.setHeader('connection', 'close')
      sendError(response, asApiError(error))
    }
  }

  private handlerOf({ method = '', url = '' }: IncomingMessage): Handler {
    const [path] = url.split('?')
    const { id } = this.settings
    if (path.startsWith('/v1/models/')) {
      const asked = decodeName(path.slice('/v1/models/'.length))
      if (asked !== id)
        throw new ApiError(404, `The model '${asked}' does not exist`, {
          code: 'model_not_found',
          param: 'model',
        })
      if (method === 'GET') return async (_, response) => sendJson(response, 200, this.described())
    }
    const route = Object.hasOwn(this.routes, path) ? this.routes[path] : undefined
    if (!route) throw new ApiError(404, `Invalid URL (${method} ${path})`)
    const handler = Object.hasOwn(route, method) ? route[method] : undefined
    if (!handler) throw new ApiError(405, `Not allowed to ${method} on ${path}.`)
    return handler
  }

  /**
   * A page of another site may reach a loopback address under a name of its own: such requests are refused.
   */
  private checkHost({ headers, socket }: IncomingMessage): void {
    const isLoopback = /^(127\.|::1$|::ffff:127\.)/.test(socket.localAddress ?? '')
    if (!isLoopback || /^(localhost|127\.[\d.]+|\[::1\])(:\d+)?$/i.test(headers.host ?? '')) return
    throw new ApiError(403, `The host must be localhost; received ${headers.host ?? 'none'}.`)
  }

  private checkKey({ headers }: IncomingMessage): void {
    const { apiKey } = this.settings
    if (apiKey === undefined || headers.authorization === `Bearer ${apiKey}`) return
    throw new ApiError(401, 'Incorrect API key provided.', { code: 'invalid_api_key' })
  }

  private described(): object {
    return { id: this.settings.id, object: 'model', created: this.created, owned_by: 'lowbit' }
  }
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
