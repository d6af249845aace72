// The worker's entry in a browser.
import { serveWasm } from './wasmWorker.ts'

serveWasm({
  post: (answer, transfer) => self.postMessage(answer, { transfer }),
  onMessage(listener) {
    self.onmessage = ({ data }) => listener(data)
  },
})
