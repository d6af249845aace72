import type { DeviceName } from '../src/devices/open.ts'

/**
 * The devices that a test runs on: all, or those of `LOWBIT_DEVICES` (`npm test` leaves native out where
 * there is no compiler).
 */
export const deviceNames = (process.env.LOWBIT_DEVICES ?? 'native,wasm').split(',') as DeviceName[]
