import type { TensorFile, TensorInfo } from '../formats/tensorFile.ts'
import type { Module } from '../nn/module.ts'

/**
 * A file whose tensors are found by their paths in a model; messages say the names that they have in the
 * file. Of two names of one path the path itself counts.
 * @param pathOf the path of a name; null for what is no part of the model
 */
export function renamed(file: TensorFile, pathOf: (name: string) => string | null): TensorFile {
  const byPath = <T>(entries: Iterable<[string, T]>): Map<string, T> => {
    const all = [...entries].map(([name, value]) => ({ name, path: pathOf(name) ?? name, value }))
    const [own, others] = [
      all.filter(({ name, path }) => name === path),
      all.filter((e) => e.name !== e.path),
    ]
    return new Map([...others, ...own].map(({ path, value }) => [path, value]))
  }
  const tensors: ReadonlyMap<string, TensorInfo> = byPath(file.tensors)
  const nameOf = (path: string) => tensors.get(path)?.name ?? path
  return {
    name: file.name,
    tensors,
    unknown: byPath(file.unknown),
    ...(file.texts && { texts: file.texts }),
    read: (path) => file.read(nameOf(path)),
    readRows: (path, ...rows) => file.readRows(nameOf(path), ...rows),
    readBytes: (path, ...bytes) => file.readBytes(nameOf(path), ...bytes),
    close: () => file.close(),
  }
}

/**
 * The path of a checkpoint's tensor in a model whose modules may have other names there.
 * @param namesOf the names that a checkpoint may give what stands at a path
 */
export function pathsByAlias(
  model: Module,
  namesOf: (path: string) => readonly string[],
): (name: string) => string {
  const paths = [
    ...[...model.namedModules({ removeDuplicate: false })].map(([path]) => path),
    ...[...model.namedTensors()].map(([path]) => path),
  ].filter((path) => path !== '')
  const known = new Set(paths)
  const aliases = new Map(paths.flatMap((path) => namesOf(path).map((name) => [name, path] as const)))
  return (name) => {
    for (let end = name.length; end > 0; end = name.lastIndexOf('.', end - 1)) {
      const prefix = name.slice(0, end)
      if (known.has(prefix)) return name
      const path = aliases.get(prefix)
      if (path !== undefined) return path + name.slice(end)
    }
    return name
  }
}
