// The worker's entry in Node.
import { parentPort } from 'node:worker_threads'
import { serveWasm } from './wasmWorker.ts'

const port = parentPort
if (port) {
  serveWasm({
    post: (answer, transfer) => port.postMessage(answer, transfer),
    onMessage: (listener) => port.on('message', listener),
  })
}
