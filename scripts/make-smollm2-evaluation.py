"""python make-smollm2-evaluation.py SMOLLM2.gguf WIKITEXT.txt LAMBADA.jsonl: writes test/golden/smollm2/evaluation.json and
wikitext-ids.bin, what transformers computes with the dequantized weights in float32: the negative log-likelihood of every window of
2048 of the text's first 32,000 tokens, and for the first 500 passages the last word's log-likelihood, whether greedy generation
writes it, and the least margin of its tokens over (or under) the likeliest other one. Needs gguf, too."""
import json
import math
import sys
from pathlib import Path

import torch

root = Path(__file__).parent.parent
sys.path.insert(0, str(root / 'bench/evaluation'))
from peer import context, last_word, load_model, load_tokenizer, passages, text_tokens, window_nll

gguf, text, lambada = map(Path, sys.argv[1:])
golden = root / 'test/golden/smollm2'
torch.set_num_threads(2)
model, tokenizer = load_model(gguf), load_tokenizer(gguf)

ids = text_tokens(tokenizer, text)[:32_000]
assert len(ids) == 32_000
(golden / 'wikitext-ids.bin').write_bytes(torch.tensor(ids, dtype=torch.uint16).numpy().tobytes())
windows = []
for start in range(0, len(ids), context):
    windows.append(window_nll(model, ids[start:start + context]))
    print('window', len(windows), windows[-1], flush=True)


def perplexity(some):
    tokens = sum(window['tokens'] - 1 for window in some)
    return dict(perplexity=math.exp(sum(window['nll'] for window in some) / tokens), tokens=tokens)


items, words = passages(lambada, 500), []
for item in items:
    words.append(last_word(model, tokenizer, item))
    if len(words) % 50 == 0:
        print('passages', len(words), sum(word['margin'] > 0 for word in words), flush=True)
(golden / 'evaluation.json').write_text(json.dumps(dict(
    context=context,
    windows=[window['nll'] / (window['tokens'] - 1) for window in windows],
    whole=perplexity(windows[:-1]),
    transformers=perplexity(windows),
    lambada=dict(items=items[:20], logLikelihoods=[word['logLikelihood'] for word in words],
                 margins=[word['margin'] for word in words]))) + '\n')
