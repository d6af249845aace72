import { diskFolder } from './file.node.ts'
import { hubDatasetFile } from './hub.node.ts'
import type { JsonObject } from './json.ts'
import { readRecords } from './records.node.ts'
import { type ByteSource, missingFile, type OpenOptions } from './source.ts'

/** A text on which models are measured: a file of a data set of the hub, whose items hold pieces of it. */
interface TextSet {
  id: string
  file: string
  /** What stands between two pieces. */
  between: string
  /** The first of them alone. */
  pieces?: number
}

/**
 * - `wikitext2`: WikiText-2's test split, raw, as transformers' documentation joins it.
 * - `c4`: the first 1100 documents of C4's first validation file. Source: GPTQ, datautils.py, `get_c4_new`,
 *   which also ends after 256 windows of 2048 tokens, about where these documents do.
 */
export const textSets: Readonly<Record<'wikitext2' | 'c4', TextSet>> = {
  wikitext2: {
    id: 'Salesforce/wikitext',
    file: 'wikitext-2-raw-v1/test-00000-of-00001.parquet',
    between: '\n\n',
  },
  c4: { id: 'allenai/c4', file: 'en/c4-validation.00000-of-00008.json.gz', between: ' ', pieces: 1100 },
}

/** The name of a text that is known. */
export type TextSetName = keyof typeof textSets

/** Whether a name stands for a text that is known. */
export function isTextSet(name: string): name is TextSetName {
  return Object.hasOwn(textSets, name)
}

/**
 * A text that is known, from the hub, or from what its cache holds of it.
 * @throws FormatError if it is neither there nor to be had
 */
export async function hubText(name: TextSetName, options: OpenOptions = {}): Promise<string> {
  const { id, file } = textSets[name]
  return readAndClose(await hubDatasetFile(id, file, options), textSets[name])
}

/**
 * A text that is known, from a folder that holds its file as the hub's data set does, or directly.
 * @throws FormatError if it holds none
 */
export async function folderText(path: string): Promise<string> {
  const folder = diskFolder(path)
  for (const set of Object.values(textSets))
    for (const file of [set.file, set.file.slice(set.file.lastIndexOf('/') + 1)])
      if (await folder.has(file)) return readAndClose(await folder.open(file), set)
  const wanted = Object.values(textSets).map(({ file }) => file)
  throw missingFile(path, wanted.join(' or '))
}

/**
 * The field `text` of the items of a file, joined.
 * @throws FormatError if an item has none
 */
export async function recordsText(source: ByteSource): Promise<string> {
  return joined(await readRecords(source), { between: '\n\n' })
}

async function readAndClose(source: ByteSource, set: TextSet): Promise<string> {
  try {
    return joined(await readRecords(source), set)
  } finally {
    await source.close()
  }
}

function joined(records: readonly JsonObject[], { between, pieces }: Partial<TextSet>): string {
  return records
    .slice(0, pieces)
    .map((record) => record.string('text'))
    .join(between)
}
