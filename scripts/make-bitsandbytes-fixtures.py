"""Writes test/golden/bitsandbytes.safetensors: what bitsandbytes makes of weights in 4 and 8 bits, on a CPU in one thread.

    python scripts/make-bitsandbytes-fixtures.py

Two weights: `odd`, 29 rows of 37 in three dtypes, with one of every kind of difficulty (rows of different sizes, runs of zeros, outliers),
and `long`, 300 rows of 64, whose blocks make two blocks of scales. Of each, both types and the block sizes in `SIZES`, once with plain
scales and once with scales quantized again. A tensor is named `<weight>.<dtype>.<type>.<block size>[.nested].<part>`.
"""

import itertools
import pathlib
from importlib.metadata import version

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file

SIZES = {"odd": [32, 64, 4096], "long": [64]}
DTYPES = {"odd": ["float32", "float16", "bfloat16"], "long": ["float32"]}

torch.set_num_threads(1)
torch.manual_seed(4)
odd = torch.randn(29, 37) * torch.logspace(-3, 1, 29)[:, None]
odd[7:11] = 0
odd[12] = torch.arange(37) / 37 - 0.5
odd[13, ::5] = 100
odd[28, 10:] = 0
weights = {"odd": odd, "long": torch.randn(300, 64) * torch.rand(300, 1)}


def dequantize(packed, state, shape):
    """The library's table, in float32, then one rounding: its fast paths take other blocks' scales where rows are no whole blocks."""
    absmax = state.absmax
    if state.nested:
        absmax = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset
    codes = torch.stack([packed.flatten() >> 4, packed.flatten() & 15], 1).flatten()[: shape.numel()].long()
    return (state.code[codes] * absmax.repeat_interleave(state.blocksize)[: shape.numel()]).reshape(shape).to(state.dtype)


tensors = {}
for name, weight in weights.items():
    for dtype in DTYPES[name]:
        w = weight.to(getattr(torch, dtype))
        tensors[f"{name}.{dtype}"] = w
        for kind, size, nested in itertools.product(["nf4", "fp4"], SIZES[name], [False, True]):
            packed, state = bnb.quantize_4bit(w, blocksize=size, compress_statistics=nested, quant_type=kind)
            key = f"{name}.{dtype}.{kind}.{size}" + (".nested" if nested else "")
            parts = {"packed": packed, **state.as_dict(packed=True)}
            if name == "odd":
                parts["dequantized"] = dequantize(packed, state, w.shape)
            # The same everywhere.
            maps = {"quant_map": kind, "nested_quant_map": "nested"}
            for part, value in parts.items():
                tensors[f"{maps[part]}.map" if part in maps else f"{key}.{part}"] = value.clone()

# LLM.int8: a weight and its codes, and products with rows of which some have outliers, the threshold being 6.
weight = torch.randn(33, 70) * torch.rand(33, 1)
weight[5] = 0
codes, most, _ = bnb.int8_vectorwise_quant(weight.half())
tensors |= {"int8.weight": weight, "int8.codes": codes, "int8.SCB": most}
rows = torch.randn(5, 70)
rows[1, 3], rows[4, 69], rows[0, 20], rows[2, 20] = 11.5, -6.0, 5.998, 7.25
for name, x in {"rows": rows, "one": rows[1:2], "calm": rows[3:4]}.items():
    x_codes, x_most, outliers = bnb.int8_vectorwise_quant(x.half(), threshold=6.0)
    y, _ = torch.ops.bitsandbytes.int8_mixed_scaled_mm(x, x_codes, codes, x_most, most, outliers, None)
    tensors |= {f"int8.{name}.x": x.clone(), f"int8.{name}.codes": x_codes, f"int8.{name}.y": y}

path = pathlib.Path(__file__).parent.parent / "test/golden/bitsandbytes.safetensors"
save_file(tensors, path, {"bitsandbytes": version("bitsandbytes"), "torch": torch.__version__})
print(path, path.stat().st_size)
