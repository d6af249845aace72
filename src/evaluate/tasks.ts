import type { JsonObject } from '../formats/json.ts'

/*
 * Sets of questions as EleutherAI's lm-evaluation-harness asks them: what each item of a data set, as the hub
 * has it, gives the model to read, and what it may answer.
 * Source: lm-eval 0.4.13, tasks/{lambada,hellaswag,arc,piqa,winogrande}.
 */

/** An answer that a question allows: the text before it, and its own, which begins with its space. */
export interface Answer {
  context: string
  continuation: string
  /** Characters by which its log-likelihood is divided, where a task does so. */
  length: number
}

/** What is asked, and which of the answers is right. */
export interface Question {
  answers: Answer[]
  right: number
}

/** How the items of a data set become questions. */
export interface Task {
  /**
   * @throws FormatError if a field is missing or of the wrong type
   */
  question(item: JsonObject): Question
  /** Whether accuracy by likelihood per character is usual, too. */
  perCharacter: boolean
}

/** After a question, each choice behind a space. */
function choicesAfter(context: string, choices: readonly string[]): Answer[] {
  return choices.map((choice) => ({ context, continuation: ` ${choice}`, length: [...choice].length }))
}

/** The number of the right answer, which files write as a number or as its digits. */
function answerNumber(item: JsonObject, key: string, first: number, count: number): number {
  const value = Number(item.get(key))
  if (Number.isInteger(value) && value >= first && value < first + count && item.get(key) !== '')
    return value - first
  throw item.error(key, `must be one of ${first}..${first + count - 1}`)
}

/** The last word of a passage, to be guessed. Source: Paperno et al., "The LAMBADA dataset", 2016. */
const lambada: Task = {
  perCharacter: false,
  question(item) {
    const text = item.string('text')
    const at = text.lastIndexOf(' ')
    if (at <= 0 || at === text.length - 1) throw item.error('text', 'must have a last word after others')
    return {
      answers: [{ context: text.slice(0, at), continuation: text.slice(at), length: text.length - at - 1 }],
      right: 0,
    }
  },
}

/** Source: Zellers et al., "HellaSwag", 2019. */
const hellaswag: Task = {
  perCharacter: true,
  question(item) {
    const clean = (text: string) =>
      text
        .trim()
        .replaceAll(' [title]', '. ')
        .replace(/\[.*?\]/g, '')
        .replaceAll('  ', ' ')
    const second = item.string('ctx_b', '')
    const context = `${item.string('ctx_a')} ${second.slice(0, 1).toUpperCase()}${second.slice(1).toLowerCase()}`
    const endings = item.strings('endings').map(clean)
    return {
      answers: choicesAfter(clean(`${item.string('activity_label')}: ${context}`), endings),
      right: answerNumber(item, 'label', 0, endings.length),
    }
  },
}

/** ARC, easy and challenge. Source: Clark et al., "Think you have solved question answering?", 2018. */
const arc: Task = {
  perCharacter: true,
  question(item) {
    const choices = item.object('choices')
    const right = choices.strings('label').indexOf(item.string('answerKey'))
    if (right < 0) throw item.error('answerKey', `must be one of ${choices.strings('label').join(', ')}`)
    const context = `Question: ${item.string('question')}\nAnswer:`
    return { answers: choicesAfter(context, choices.strings('text')), right }
  },
}

/** Source: Bisk et al., "PIQA", 2020. */
const piqa: Task = {
  perCharacter: true,
  question(item) {
    const context = `Question: ${item.string('goal')}\nAnswer:`
    return {
      answers: choicesAfter(context, [item.string('sol1'), item.string('sol2')]),
      right: answerNumber(item, 'label', 0, 2),
    }
  },
}

/**
 * The rest of a sentence after either of two words in its gap.
 * Source: Sakaguchi et al., "WinoGrande", 2020; scored as Trinh and Le, "A simple method for commonsense
 * reasoning", 2018.
 */
const winogrande: Task = {
  perCharacter: false,
  question(item) {
    const sentence = item.string('sentence')
    const gap = sentence.indexOf('_')
    if (gap < 0) throw item.error('sentence', 'must have a gap, "_"')
    const rest = sentence.slice(gap + 1).trim()
    return {
      answers: ['option1', 'option2'].map((option) => ({
        context: sentence.slice(0, gap) + item.string(option),
        continuation: ` ${rest}`,
        length: rest.length,
      })),
      right: answerNumber(item, 'answer', 1, 2),
    }
  },
}

/** Every task, by the name it has in lm-eval. */
export const tasks = { lambada, hellaswag, arc, piqa, winogrande } satisfies Record<string, Task>

/** The name of a set of questions. */
export type TaskName = keyof typeof tasks

export const taskNames = Object.keys(tasks) as TaskName[]
