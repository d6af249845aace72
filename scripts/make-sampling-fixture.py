"""Writes test/golden/sampling.json: logits, and what transformers' processors make of them.

Each case has logits of a small vocabulary, the tokens so far, and options of `generate`; the scores are those of
the LogitsProcessorList that `generate` itself puts together of these options. null stands for minus infinity.

    pip install torch transformers
    python scripts/make-sampling-fixture.py
"""

import json
import math
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, __version__

VOCABULARY = 96
OPTIONS = [
    {"temperature": 0.7},
    {"temperature": 1.8},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_k": 5},
    {"temperature": 0.5, "top_k": 50},
    {"temperature": 1.0, "top_k": 500},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 2.5, "top_p": 0.5},
    {"temperature": 1.0, "top_p": 0.01},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 3.0, "min_p": 0.02},
    {"temperature": 1.3, "top_k": 20, "top_p": 0.8},
    {"temperature": 1.3, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 1.0, "repetition_penalty": 0.8},
    {"temperature": 1.0, "no_repeat_ngram_size": 1},
    {"temperature": 1.0, "no_repeat_ngram_size": 2},
    {"temperature": 1.0, "no_repeat_ngram_size": 3},
    {"temperature": 0.8, "top_k": 30, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2},
]

torch.manual_seed(7)
model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
)
cases = []
for options in OPTIONS:
    logits = (3 * torch.randn(1, VOCABULARY)).float()
    # Few different tokens, so that runs of them come again; the last ones came before.
    ids = torch.randint(0, 6, (1, 24))
    ids[0, -2:] = ids[0, 3:5]
    config = GenerationConfig(do_sample=True, **{"top_k": 0, **options})
    processors = model._get_logits_processor(config, input_ids_seq_length=ids.shape[1])
    scores = processors(ids, logits.clone())[0].tolist()
    cases.append(
        {
            "options": options,
            "ids": ids[0].tolist(),
            "logits": logits[0].tolist(),
            "processors": [type(processor).__name__ for processor in processors],
            "scores": [None if math.isinf(score) else score for score in scores],
        }
    )

path = Path(__file__).parent.parent / "test/golden/sampling.json"
path.write_text(json.dumps({"transformers": __version__, "cases": cases}) + "\n")
print(path, path.stat().st_size)
