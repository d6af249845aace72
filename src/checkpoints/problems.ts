import { FormatError } from '../core/errors.ts'
import { showName } from '../formats/json.ts'

/** What of a checkpoint does not fit: a tensor, or a layer, and what is wrong with it. */
export interface Problem {
  readonly tensor: string
  /** `misfit`: it is there, but is not what it must be; `unexpected`: the model has no place for it. */
  readonly kind: 'missing' | 'misfit' | 'unexpected'
  readonly problem: string
}

/** Problems that are said; the others are counted. */
const problemsShown = 6

/** @throws FormatError with all problems in one sentence, if there are any */
export function refuseProblems(head: string, problems: readonly Problem[], advice?: string): void {
  if (problems.length === 0) return
  const sentences = problems
    .slice(0, problemsShown)
    .map(({ tensor, problem }) => `${showName(tensor)} ${problem}`)
  if (problems.length > problemsShown) sentences.push(`and ${problems.length - problemsShown} more`)
  if (advice) sentences.push(advice)
  throw new FormatError(`${head}; ${sentences.join('; ')}`)
}
