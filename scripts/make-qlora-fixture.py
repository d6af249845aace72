"""LOWBIT_GOLDEN=FOLDER python scripts/make-qlora-fixture.py: writes test/golden/qlora-gradients.json.

The loss of GPT-2's first tokens, its layers of the golden set's NF4 with a pair of small matrices beside each, y = W x + B A x, and the
gradients of the pairs: norm and first values, as PyTorch computes them from the weights that the codes stand for. The pairs are
A[r, k] = sin(97 r + k) / 10 and B[n, r] = cos(13 n + r) / 10.
"""

import json
import os
import pathlib

import torch
from transformers import AutoModelForCausalLM

RANK, TOKENS = 4, 48

golden = pathlib.Path(os.environ["LOWBIT_GOLDEN"]) / "shakespeare-gpt2-1M"
model = AutoModelForCausalLM.from_pretrained(golden / "bnb-nf4", device_map="cpu")
ids = torch.tensor([json.load(open(golden / "inputs.json"))["ppl_ids"][:TOKENS]])


class Pair(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        weight = layer.weight
        state = weight.quant_state
        codes = torch.stack([weight.data.flatten() >> 4, weight.data.flatten() & 15], 1).flatten().long()
        self.weight = (state.code[codes] * state.absmax.repeat_interleave(state.blocksize)).reshape(state.shape).double()
        self.bias = layer.bias.detach().double()
        n, k = state.shape
        rows, columns, ranks = torch.arange(n)[:, None], torch.arange(k)[None], torch.arange(RANK)
        self.a = torch.nn.Parameter((torch.sin((97 * ranks[:, None] + columns).double()) / 10).float().double())
        self.b = torch.nn.Parameter((torch.cos((13 * rows + ranks[None]).double()) / 10).float().double())

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight, self.bias) + x @ self.a.T @ self.b.T


floats = type(model)(model.config).double().eval()
kept = {name: value.double() for name, value in model.state_dict().items() if value.is_floating_point() and ".weight." not in name}
floats.load_state_dict({name: value for name, value in kept.items() if value.shape == floats.state_dict().get(name, value).shape}, strict=False)
layers = [(name, layer) for name, layer in model.named_modules() if type(layer).__name__ == "Linear4bit"]
for name, layer in layers:
    floats.set_submodule(name, Pair(layer))
loss = floats(ids, labels=ids).loss
loss.backward()
gradients = {}
for name, _ in layers:
    pair = floats.get_submodule(name)
    for part in ["a", "b"]:
        gradient = getattr(pair, part).grad
        gradients[f"{name}.{part}"] = {"norm": gradient.norm().item(), "first": gradient.flatten()[:6].tolist()}
out = pathlib.Path(__file__).parent.parent / "test/golden/qlora-gradients.json"
out.write_text(json.dumps({"rank": RANK, "tokens": TOKENS, "loss": loss.item(), "gradients": gradients}, indent=1) + "\n")
print(loss.item(), len(gradients))
