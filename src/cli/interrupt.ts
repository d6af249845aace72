import { constants } from 'node:os'

const signals = ['SIGINT', 'SIGTERM'] as const

/**
 * A kernel runs to its end and a save removes its draft; who still waits after this is not waiting for
 * either.
 */
const patienceMs = 1000

const controller = new AbortController()

/** Aborted by Ctrl-C and SIGTERM, once `handleSignals` was called. */
export const interrupted: AbortSignal = controller.signal

/**
 * From now on Ctrl-C and SIGTERM abort `interrupted`. The process then ends with exit code 128 + the signal's
 * number: when the command has cleaned up, or after a second, or at the next signal.
 */
export function handleSignals(): void {
  for (const name of signals) process.on(name, interrupt)
}

/**
 * Runs what does not yield, so that no handler would hear a signal: meanwhile they end the process at once,
 * as by default.
 */
export function withoutYielding<T>(body: () => T): T {
  for (const name of signals) process.off(name, interrupt)
  try {
    return body()
  } finally {
    handleSignals()
  }
}

function interrupt(name: NodeJS.Signals): void {
  process.exitCode = 128 + constants.signals[name]
  if (interrupted.aborted) process.exit()
  controller.abort(new Error(`interrupted by ${name}`))
  setTimeout(() => process.exit(), patienceMs).unref()
}
