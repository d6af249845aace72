// The platforms that have a prebuilt addon, each in an npm package of its own, `@lowbit/<platform>`; src/core/host.node.ts looks for it.

/** Flags for what a linker of each operating system wants. */
const linkFlags = {
  linux: ['-shared', '-pthread', '-Wl,--version-script,native/exports.map', '-Wl,--gc-sections', '-Wl,-z,noexecstack'],
  darwin: ['-shared', '-Wl,-undefined,dynamic_lookup', '-Wl,-dead_strip'],
  win32: ['-shared', '-Wl,--gc-sections'],
}

const platform = (os, cpu, libc, target) => ({ os, cpu, libc, target, linkFlags: linkFlags[os] })

/** By name: npm's `os`, `cpu` and `libc`, and zig's target with the oldest system that it runs on. */
export const platforms = {
  'linux-x64-gnu': platform('linux', 'x64', 'glibc', 'x86_64-linux-gnu.2.28'),
  'linux-arm64-gnu': platform('linux', 'arm64', 'glibc', 'aarch64-linux-gnu.2.28'),
  'linux-x64-musl': platform('linux', 'x64', 'musl', 'x86_64-linux-musl'),
  'linux-arm64-musl': platform('linux', 'arm64', 'musl', 'aarch64-linux-musl'),
  'darwin-arm64': platform('darwin', 'arm64', null, 'aarch64-macos.11.0'),
  'darwin-x64': platform('darwin', 'x64', null, 'x86_64-macos.11.0'),
  'win32-x64': platform('win32', 'x64', null, 'x86_64-windows-gnu'),
  'win32-arm64': platform('win32', 'arm64', null, 'aarch64-windows-gnu'),
}
