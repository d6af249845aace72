"""What the scripts that make folders of schemes share: the model stories260K, and what is to be expected of a folder of it.

test/golden/stories260K/<variant>/                       the folder, as the library wrote it
test/golden/stories260K/expected/<variant>.safetensors   logits of the prompt, computed in float32 with the weights that the library
                                                         dequantizes; the first rows of two of these; `lib_prompt_logits` by the library's
                                                         own forward pass, where that runs
test/golden/schemes.json                                 an item for each: perplexity, and sums of each dequantized weight
"""

import json
import math
import os
import re
import shutil

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
float_folder = os.path.join(root, "models", "stories260K")
golden = os.path.join(root, "test", "golden")
stories = os.path.join(golden, "stories260K")
inputs = json.load(open(os.path.join(stories, "inputs.json")))
context = json.load(open(os.path.join(stories, "manifest.json")))["context"]


def fresh(variant):
    """An empty folder for a variant."""
    folder = os.path.join(stories, variant)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def float_model(weights={}):
    """stories260K in float32, some of its weights replaced."""
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(float_folder)).float().eval()
    state = load_file(os.path.join(float_folder, "model.safetensors"))
    state.update({name: weight.float() for name, weight in weights.items()})
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    return model


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float()


def expect(variant, library, version, call, weights, lib_logits=None, model=None):
    """Writes what is to be expected of a variant whose dequantized weights these are, by name."""
    model = model or float_model(weights)
    ids, nll = inputs["ppl_ids"], []
    for start in range(0, len(ids) - context + 1, context):
        window = ids[start : start + context]
        log = torch.log_softmax(logits(model, window).double(), dim=-1)
        nll.append(-log[:-1].gather(1, torch.tensor(window[1:])[:, None]))
    mean = torch.cat(nll).mean().item()
    names = sorted(weights)
    tensors = {f"dequant.{name}": weights[name].float()[:16].contiguous() for name in (names[0], names[-1])}
    tensors["prompt_logits"] = logits(model, inputs["prompt_ids"])
    if lib_logits is not None:
        tensors["lib_prompt_logits"] = lib_logits.float().contiguous()
    save_file(tensors, os.path.join(stories, "expected", f"{variant}.safetensors"))
    doubles = {name: weights[name].double() for name in names}
    stats = {name: [w.sum().item(), w.abs().sum().item(), w.pow(2).sum().sqrt().item()] for name, w in doubles.items()}
    item = {
        "id": f"stories260K/{variant}",
        "library": library,
        "version": version,
        "call": call,
        "expected": {"nll": mean, "perplexity": math.exp(mean)},
        "weight_stats": stats,
    }
    path = os.path.join(golden, "schemes.json")
    items = json.load(open(path)) if os.path.exists(path) else []
    items = sorted([one for one in items if one["id"] != item["id"]] + [item], key=lambda one: one["id"])
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\s*\n\s*", " ", found[0]), json.dumps(items, indent=1))
    open(path, "w").write(text + "\n")
