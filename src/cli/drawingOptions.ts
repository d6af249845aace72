import type { Command } from 'commander'
import { number, repeated, repeatedNumber, share, wholeNumber } from './arguments.ts'

/** How tokens are drawn, and how many: of commands that write text. */
export function addDrawingOptions(command: Command, most: number): void {
  command
    .option('--max-new-tokens <n>', 'at most this many tokens', wholeNumber(0), most)
    .option(
      '--temperature <t>',
      '0 always takes the likeliest token, whatever --top-k, --top-p and --min-p say; higher draws more freely',
      number(0),
      0,
    )
    .option('--top-k <k>', 'draw from the k likeliest tokens; 0 for all', wholeNumber(0), 0)
    .option('--top-p <p>', 'draw from the likeliest tokens that together reach the probability p', share, 1)
    .option(
      '--min-p <p>',
      'draw from tokens at least this share as probable as the likeliest',
      number(0, 1),
      0,
    )
    .option('--seed <s>', 'seed of the draws: the same seed draws the same text', wholeNumber(0), 0)
    .option(
      '--repetition-penalty <x>',
      'above 1, tokens of the prompt and the text come more rarely',
      number(0.01),
      1,
    )
    .option('--frequency-penalty <x>', 'taken from the logit of a token for each time it came', number(), 0)
    .option('--presence-penalty <x>', 'taken from the logits of tokens that came', number(), 0)
    .option('--block-ngrams <n>', 'let no run of n tokens come twice; 0 lets any', wholeNumber(0), 0)
    .option('--stop <text>', 'end before this text; may be repeated', repeated)
    .option('--stop-token <id>', 'end at this token; may be repeated', repeatedNumber)
    .option('--no-eos', "do not end at the model's end-of-text tokens")
}
