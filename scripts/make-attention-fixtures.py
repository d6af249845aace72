"""Writes test/golden/attention/{manifest.json,gradients.safetensors}: attention under masks and rotary positions, with gradients.

    python scripts/make-attention-fixtures.py test/golden/attention

Keys are as in test/golden/gradients; masks of booleans are 0 and 1. Needs torch, transformers and safetensors.
"""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb as halves
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as neighbours

torch.manual_seed(11)
tensors, ops = {}, []


def record(name, call, function, extra=None, **inputs):
    leaves = {key: value.clone().requires_grad_(True) for key, value in inputs.items()}
    out = function(**leaves)
    grad_out = torch.randn(out.shape)
    out.backward(grad_out)
    for key, value in leaves.items():
        tensors[f"{name}.in.{key}"] = value.detach()
        tensors[f"{name}.grad.{key}"] = value.grad
    for key, value in (extra or {}).items():
        tensors[f"{name}.extra.{key}"] = value.float() if value.dtype == torch.bool else value
    tensors[f"{name}.out"], tensors[f"{name}.grad_out"] = out.detach(), grad_out
    ops.append({"name": name, "call": call, "inputs": list(inputs), "int_inputs": [], "extra": list(extra or {})})


def qkv(B, H, KV, T, S, D):
    return {"q": torch.randn(B, H, T, D), "k": torch.randn(B, KV, S, D), "v": torch.randn(B, KV, S, D)}


def sdpa(mask=None, **options):
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)


# The second query of the first sequence sees nothing.
mask = torch.rand(2, 1, 5, 7) > 0.4
mask[0, 0, 1] = False
record("bool_mask", "attn_mask [2,1,5,7] bool", sdpa(mask), {"mask": mask}, **qkv(2, 4, 4, 5, 7, 8))
mask = torch.arange(7.0) * torch.tensor([0.5, 0.25, 0.125, 0.0625]).view(4, 1, 1) + torch.randn(4, 5, 7)
record("float_mask", "attn_mask [4,5,7] float", sdpa(mask), {"mask": mask}, **qkv(2, 4, 4, 5, 7, 8))
mask = torch.rand(5, 7) > 0.3
record("shared_heads", "attn_mask [5,7] bool, enable_gqa", sdpa(mask, enable_gqa=True), {"mask": mask}, **qkv(2, 4, 2, 5, 7, 8))

# What masks of our own say, as PyTorch's: a window of 4 keys, and sequences padded left and right.
at = torch.arange(9)
window = (at[None, :] <= at[:, None]) & (at[None, :] > at[:, None] - 4)
record("window", "a window of 4 keys as attn_mask", sdpa(window), **qkv(1, 2, 2, 9, 9, 8))
ranges = torch.tensor([[3, 9], [0, 5]])
inside = (at[None, :] >= ranges[:, :1]) & (at[None, :] < ranges[:, 1:])
causal = inside[:, None, None, :] & (at[None, :] <= at[:, None])
record("padded", "sequences [3,9) and [0,5) of 9 tokens, causal", sdpa(causal), **qkv(2, 2, 2, 9, 9, 8))


def capped(q, k, v):
    scores = 1.5 * torch.tanh(q @ k.transpose(-1, -2) / 8**0.5 / 1.5)
    return torch.softmax(scores.masked_fill(~causal, float("-inf")), -1).nan_to_num() @ v


causal = torch.ones(9, 9, dtype=torch.bool).tril()
record("softcap", "causal, scores 1.5 * tanh(scores / 1.5)", capped, **qkv(2, 2, 2, 9, 9, 8))


def layer(masks):
    def run(x, weight, bias, out_weight, out_bias):
        y, _ = F.multi_head_attention_forward(
            x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1), 8, 2, weight, bias, None, None, False, 0.0, out_weight, out_bias,
            need_weights=False, **masks)
        return y.transpose(0, 1)
    return run


parameters = {
    "x": torch.randn(2, 5, 8), "weight": torch.randn(24, 8) / 3, "bias": torch.randn(24), "out_weight": torch.randn(8, 8) / 3,
    "out_bias": torch.randn(8),
}
hides = torch.rand(5, 5) > 0.7
hides[at[:5], at[:5]] = False
padding = torch.tensor([[False, False, False, True, True], [False] * 5])
hides[3:, 0] = False
record("heads_bool", "attn_mask [5,5] bool, key_padding_mask [2,5] bool", layer({"attn_mask": hides, "key_padding_mask": padding}),
       {"mask": hides, "padding": padding}, **parameters)
scores = torch.randn(4, 5, 5)
record("heads_float", "attn_mask [4,5,5] float", layer({"attn_mask": scores}), {"mask": scores}, **parameters)

# Rotary positions 3 … 7 of heads of 8 values, all turned or the first four.
for name, turned, pairs in [("rope_neighbours", 8, "neighbours"), ("rope_neighbours_part", 4, "neighbours"), ("rope_halves_part", 4, "halves")]:
    angles = torch.arange(3.0, 8.0)[:, None] * 10000 ** (-torch.arange(0, turned, 2) / turned)

    def turn(x):
        part, rest = x[..., :turned], x[..., turned:]
        if pairs == "neighbours":
            part = neighbours(part, angles.sin()[None], angles.cos()[None])
        else:
            both = torch.cat([angles, angles], -1)
            part, _ = halves(part.transpose(1, 2), part.transpose(1, 2), both.cos()[None], both.sin()[None])
            part = part.transpose(1, 2)
        return torch.cat([part, rest], -1)

    record(name, f"{pairs}, the first {turned} of 8 values, positions 3 to 7", turn, x=torch.randn(2, 5, 3, 8))

folder = pathlib.Path(sys.argv[1])
save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "gradients.safetensors")
(folder / "manifest.json").write_text(json.dumps({"torch": torch.__version__, "ops": ops}, indent=1) + "\n")
