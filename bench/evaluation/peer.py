"""python peer.py TASK OUT MODEL.gguf FILE COUNT …: what transformers computes with the dequantized weights of a GGUF file, in float32.
OUT gets one line of JSON for each window or passage, and keeps what was there: a run that was broken off goes on.

    tokens      all tokens of a text, as one line
    perplexity  of each of the first COUNT windows of 2048 of a text, an incomplete last one too: its tokens, and their negative
                log-likelihood but for the first one's
    cache       the same, read in chunks of 64 with quanto's cache of 4 bits, whose keys have scales for each `token` or `channel`
    lambada     of each of the first COUNT passages: the last word's log-likelihood, and the least margin of its tokens over (or under)
                the likeliest other one; above 0 greedy generation writes the word

Needs gguf, too; LOWBIT_THREADS is how many threads it takes."""
import json
import math
import os
import sys
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, QuantizedCache

context, step = 2048, 64


def load_tokenizer(gguf):
    """With the model's own rule, each digit alone, which the reader of GGUF files leaves out."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer


def load_model(gguf):
    return AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()


def text_tokens(tokenizer, text):
    return tokenizer.encode(Path(text).read_text('utf8'), add_special_tokens=False)


def text_windows(tokenizer, text, count):
    ids = text_tokens(tokenizer, text)
    return [ids[start:start + context] for start in range(0, len(ids), context)][:count]


def window_nll(model, ids, cache=None):
    """The negative log-likelihood of all tokens but the first, from float32 logits in float64; with a cache they are read in chunks."""
    tokens = torch.tensor([ids])
    chunks = [tokens] if cache is None else tokens.split(step, 1)
    with torch.no_grad():
        logits = torch.cat([model(chunk, past_key_values=cache).logits[0] for chunk in chunks])[:-1]
    parts = zip(logits.split(256), tokens[0, 1:].split(256))
    losses = [torch.nn.functional.cross_entropy(some.double(), targets, reduction='sum') for some, targets in parts]
    return dict(tokens=len(ids), nll=sum(losses).item())


def quantized_cache(model, keys):
    return QuantizedCache('quanto', model.config, nbits=4, axis_key={'token': 0, 'channel': -1}[keys])


def last_word(model, tokenizer, passage):
    before, _ = passage['text'].rsplit(' ', 1)
    ids = tokenizer.encode(passage['text'])
    first = len(tokenizer.encode(before))
    with torch.no_grad():
        logits = model(torch.tensor([ids[:-1]]), logits_to_keep=len(ids) - first).logits[0].double()
    scores = torch.log_softmax(logits, -1)
    target = torch.tensor(ids[first:])[:, None]
    likely = scores.gather(1, target)
    others = scores.scatter(1, target, -math.inf).max(1, keepdim=True).values
    return dict(logLikelihood=likely.sum().item(), margin=(likely - others).min().item())


def passages(path, count):
    return [json.loads(line) for line in Path(path).read_text('utf8').splitlines()[:count]]


def main(task, out, gguf, file, count='1', *options):
    gguf, count = Path(gguf), int(count)
    torch.set_num_threads(int(os.environ.get('LOWBIT_THREADS', '2')))
    tokenizer = load_tokenizer(gguf)
    if task == 'tokens':
        items = [file]
    elif task == 'lambada':
        items = passages(file, count)
    else:
        items = text_windows(tokenizer, file, count)
    done = len(Path(out).read_text().splitlines()) if Path(out).exists() else 0
    model = None if task == 'tokens' or done >= len(items) else load_model(gguf)
    with open(out, 'a') as lines:
        for number, item in enumerate(items[done:], done + 1):
            if task == 'tokens':
                result = text_tokens(tokenizer, item)
            elif task == 'lambada':
                result = last_word(model, tokenizer, item)
            elif task == 'cache':
                result = window_nll(model, item, quantized_cache(model, *options))
            else:
                result = window_nll(model, item)
            lines.write(json.dumps(result) + '\n')
            lines.flush()
            if number % 10 == 0:
                print(f'{task} {number} of {len(items)}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
