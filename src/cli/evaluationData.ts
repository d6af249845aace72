import { statSync } from 'node:fs'
import { type TaskName, tasks } from '../evaluate/tasks.ts'
import { fileSource } from '../formats/file.node.ts'
import { readRecords } from '../formats/records.node.ts'
import { folderText, hubText, isTextSet, recordsText } from '../formats/textSets.node.ts'
import { readTextFile } from './input.ts'
import { interrupted } from './interrupt.ts'
import { type CommonOptions, downloadBar } from './model.ts'

/**
 * The text to measure perplexity on: `wikitext2` or `c4` of the hub, a folder that holds either's file, the
 * field `text` of a parquet or JSON file's items, or a text as it is.
 * @throws FormatError if there is none, or it is empty
 */
export async function readEvaluationText(name: string, options: CommonOptions): Promise<string> {
  if (isTextSet(name)) {
    const bar = await downloadBar(options)
    return hubText(name, { signal: interrupted, onDownload: bar.update }).finally(bar.stop)
  }
  if (statSync(name, { throwIfNoEntry: false })?.isDirectory()) return folderText(name)
  if (!/\.(parquet|jsonl?)(\.gz)?$/.test(name)) return readTextFile(name)
  const source = await fileSource(name)
  return recordsText(source).finally(() => source.close())
}

/**
 * The first `limit` questions of a file, each of which can be asked.
 * @throws FormatError if one cannot, by its line
 */
export async function readQuestions(task: TaskName, path: string, limit?: number): Promise<object[]> {
  const source = await fileSource(path)
  const records = (await readRecords(source).finally(() => source.close())).slice(0, limit)
  for (const record of records) tasks[task].question(record)
  return records.map((record) => record.toObject())
}
