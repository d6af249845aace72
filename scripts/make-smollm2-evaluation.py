"""python make-smollm2-evaluation.py SMOLLM2.gguf WIKITEXT.txt LAMBADA.jsonl: writes test/golden/smollm2/evaluation.json and
wikitext-ids.bin, what transformers computes with the dequantized weights in float32: the negative log-likelihood of every window of
2048 of the text's first 32,000 tokens, and for the first 500 passages the last word's log-likelihood, whether greedy generation
writes it, and the least margin of its tokens over (or under) the likeliest other one. Needs gguf, too."""
import json
import math
import sys
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

gguf, text, lambada = map(Path, sys.argv[1:])
golden = Path(__file__).parent.parent / 'test/golden/smollm2'
torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
# The model's own rule, each digit alone, which the reader of GGUF files leaves out.
tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])


def log_probabilities(ids, last=0):
    """Of the last tokens, 0 for all."""
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids]), logits_to_keep=last).logits[0].double(), -1)


ids = tokenizer.encode(text.read_text('utf8')[:400_000], add_special_tokens=False)[:32_000]
assert len(ids) == 32_000
(golden / 'wikitext-ids.bin').write_bytes(torch.tensor(ids, dtype=torch.uint16).numpy().tobytes())
context, windows = 2048, []
for start in range(0, len(ids), context):
    chunk = ids[start:start + context]
    scores = log_probabilities(chunk)[:-1]
    windows.append(-scores.gather(1, torch.tensor(chunk[1:])[:, None]).sum().item())
    print('window', len(windows), windows[-1] / (len(chunk) - 1), flush=True)
tokens = [len(ids[start:start + context]) - 1 for start in range(0, len(ids), context)]
whole = sum(windows[:-1]) / sum(tokens[:-1])
last = sum(windows) / sum(tokens)
out = dict(context=context, windows=[nll / count for nll, count in zip(windows, tokens)],
           whole=dict(perplexity=math.exp(whole), tokens=sum(tokens[:-1])),
           transformers=dict(perplexity=math.exp(last), tokens=sum(tokens)))
print(out['whole'], out['transformers'], flush=True)

words = []
items = [json.loads(line) for line in lambada.read_text('utf8').splitlines()[:500]]
for number, item in enumerate(items):
    before, _ = item['text'].rsplit(' ', 1)
    all_ids = tokenizer.encode(item['text'])
    first = len(tokenizer.encode(before))
    scores = log_probabilities(all_ids[:-1], len(all_ids) - first)
    target = torch.tensor(all_ids[first:])[:, None]
    likely = scores.gather(1, target)
    others = scores.scatter(1, target, -math.inf).max(1, keepdim=True).values
    margin = (likely - others).min().item()
    words.append([likely.sum().item(), margin])
    if number % 50 == 49:
        print('passages', number + 1, sum(margin > 0 for _, margin in words), flush=True)
out['lambada'] = dict(items=items[:20], logLikelihoods=[word[0] for word in words], margins=[word[1] for word in words])
(golden / 'evaluation.json').write_text(json.dumps(out) + '\n')
