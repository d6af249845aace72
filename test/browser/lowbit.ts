// What the tests evaluate in a page: the whole API, as `lowbit`.
import * as api from 'lowbit'

declare global {
  var lowbit: typeof import('lowbit')
}

globalThis.lowbit = api
