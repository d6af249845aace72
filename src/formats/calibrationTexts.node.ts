import { existsSync, statSync } from 'node:fs'
import { FormatError } from '../core/errors.ts'
import { anyOf } from '../core/lists.ts'
import type { CalibrationTexts } from './calibrationTexts.ts'
import { diskFolder } from './file.node.ts'
import { firstRecords } from './firstRecords.node.ts'
import { hubDatasetFile } from './hub.node.ts'
import type { JsonObject } from './json.ts'
import { type ByteSource, decodeUtf8, type OpenOptions } from './source.ts'

/** Texts on which models are calibrated: a file of a data set of the hub, and how much of it. */
interface CalibrationSet {
  id: string
  file: string
  /** Its first items: as many as give enough tokens to choose from. */
  items: number
  /** What stands between items that are pieces of one text; else each is a text. */
  between?: string
}

/**
 * - `wikitext2`: WikiText-2's training split, raw, one text. Source: GPTQ, datautils.py, `get_wikitext2`.
 * - `c4`: documents of C4's first training file. Source: the same, `get_c4`.
 * - `pileval`: documents of the Pile's validation set. Source: AutoAWQ, utils/calib_data.py.
 */
export const calibrationSets: Readonly<Record<string, CalibrationSet>> = {
  wikitext2: {
    id: 'Salesforce/wikitext',
    file: 'wikitext-2-raw-v1/train-00000-of-00001.parquet',
    items: 8000,
    between: '\n\n',
  },
  c4: { id: 'allenai/c4', file: 'en/c4-train.00000-of-01024.json.gz', items: 4000 },
  pileval: { id: 'mit-han-lab/pile-val-backup', file: 'val.jsonl.zst', items: 4000 },
}

/** Above this JavaScript has no strings. */
const maxTextBytes = 500_000_000

/** Of a file of the user's. */
const maxItems = 100_000

/**
 * The texts that a name stands for: `wikitext2`, `c4` or `pileval` of the hub, or of its cache; a folder that
 * holds one of their files; the items of a parquet or JSON lines file; a text file as one text.
 * @param openFile opens a file by its path, its URL, or its name on the hub
 * @throws FormatError if there is none, or it cannot be read
 */
export async function readCalibrationTexts(
  place: string,
  options: OpenOptions,
  openFile: (place: string, options: OpenOptions) => Promise<ByteSource>,
): Promise<CalibrationTexts> {
  if (Object.hasOwn(calibrationSets, place)) return hubTexts(place, options)
  if (existsSync(place) && statSync(place).isDirectory()) return folderTexts(place)
  const sets = Object.keys(calibrationSets)
  const source = await openFile(place, options).catch((error: unknown) => {
    if (!(error instanceof FormatError) || existsSync(place)) throw error
    throw new FormatError(`${error.message}; ${anyOf(sets)} stand for the hub's`, { cause: error })
  })
  try {
    if (/\.(parquet|jsonl?)(\.gz|\.zst)?([?#].*)?$/i.test(place))
      return { name: place, texts: textsOf(await firstRecords(source, maxItems), {}) }
    if (source.size > maxTextBytes)
      throw new FormatError(`${place}: must have at most ${maxTextBytes} bytes; it has ${source.size}`)
    const text = decodeUtf8(await source.read(0, source.size), place)
    if (text.trim() !== '') return { name: place, texts: [text] }
    throw new FormatError(`${place}: the text must have words; it is empty`)
  } finally {
    await source.close()
  }
}

async function hubTexts(name: string, options: OpenOptions): Promise<CalibrationTexts> {
  const set = calibrationSets[name]
  const source = await hubDatasetFile(set.id, set.file, options).catch((error: unknown) => {
    if (!(error instanceof FormatError)) throw error
    throw new FormatError(
      `${name}: ${error.message}; get the file, or take a text of your own, or a folder with ${baseName(set)}`,
      { cause: error },
    )
  })
  return readSet(name, source, set)
}

async function folderTexts(path: string): Promise<CalibrationTexts> {
  const folder = diskFolder(path)
  for (const set of Object.values(calibrationSets))
    for (const file of [set.file, baseName(set)])
      if (await folder.has(file)) return readSet(path, await folder.open(file), set)
  const wanted = Object.values(calibrationSets).map(baseName)
  throw new FormatError(
    `${path}: a folder of calibration texts must hold ${anyOf(wanted)}; it holds none of them: name a file of it`,
  )
}

async function readSet(name: string, source: ByteSource, set: CalibrationSet): Promise<CalibrationTexts> {
  try {
    return { name, texts: textsOf(await firstRecords(source, set.items), set) }
  } finally {
    await source.close()
  }
}

function textsOf(
  records: readonly JsonObject[],
  { between }: Pick<CalibrationSet, 'between'>,
): CalibrationTexts['texts'] {
  if (between === undefined) return records.map(textOf)
  return [records.map((record) => record.string('text')).join(between)]
}

/** An item's `text`, `messages` or `input_ids`. */
function textOf(record: JsonObject): CalibrationTexts['texts'][number] {
  for (const field of ['messages', 'input_ids']) {
    if (!record.has(field)) continue
    const list: unknown = record.get(field)
    if (Array.isArray(list)) return list
    throw record.error(field, 'must be a list')
  }
  if (!record.has('text')) throw record.error('text', 'must be there, or messages, or input_ids')
  return record.string('text')
}

function baseName({ file }: CalibrationSet): string {
  return file.slice(file.lastIndexOf('/') + 1)
}
