"""Writes test/golden/quantizers.json: optimum-quanto's scales, shifts, codes and dequantized values, as base64 of their bytes.

    python scripts/make-quantizer-fixtures.py

One 8 x 64 weight per dtype, its rows of different sizes, one far from zero, one negative, one constant, the last one zero (left out of
float8, where quanto makes NaN of it); every qtype; per row, and for qint2 and qint4 also in groups of 16.
"""

import base64
import json
import pathlib

import optimum.quanto as quanto
import torch
from importlib.metadata import version
from optimum.quanto.tensor.weights.quantization import quantize_weight

DTYPES = ["float32", "float16", "bfloat16"]
GROUP_SIZE = 16


def base64_of(tensor):
    return base64.b64encode(tensor.contiguous().view(torch.uint8).numpy().tobytes()).decode()


def weight(dtype):
    torch.manual_seed(7)
    w = torch.randn(8, 64)
    factors = torch.tensor([0.05, 100, 2e-3, 0.1, 0.02, 0, 1, 0])[:, None]
    offsets = torch.tensor([0, 0, 0, 5, -0.2, 0.3, 0, 0])[:, None]
    w = w * factors + offsets
    w[6, 11] = 60
    return w.to(getattr(torch, dtype))


def item(w, qtype, group_size):
    if qtype.bits == 8:
        scale, shift = quanto.AbsmaxOptimizer()(w, qtype, axis=0), None
    else:
        scale, shift = quanto.MaxOptimizer()(w, qtype, axis=0, group_size=group_size)
    quantized = quantize_weight(w, qtype, 0, scale, shift, group_size=group_size, optimized=False)
    codes = quantized._data if qtype.bits == 8 else quantized._data.unpack()
    return {
        "cols": group_size or w.shape[1],
        "scale": base64_of(scale),
        "shift": None if shift is None else base64_of(shift),
        "codes": base64_of(codes),
        "dequantized": base64_of(quantized.dequantize()),
    }


fixture = {"library": f"optimum-quanto {version('optimum-quanto')}", "torch": torch.__version__, "weights": {}, "items": []}
for dtype in DTYPES:
    w = weight(dtype)
    fixture["weights"][dtype] = base64_of(w)
    for name in ["qint2", "qint4", "qint8", "qfloat8_e4m3fn", "qfloat8_e5m2", "qfloat8_e4m3fnuz"]:
        qtype = quanto.qtypes[name]
        for group_size in [None, GROUP_SIZE] if qtype.bits < 8 else [None]:
            x = w[:-1] if qtype.is_floating_point else w
            fixture["items"].append({"dtype": dtype, "qtype": name, "rows": x.numel() // (group_size or 64), **item(x, qtype, group_size)})

path = pathlib.Path(__file__).parent.parent / "test" / "golden" / "quantizers.json"
path.write_text(json.dumps(fixture, indent=1) + "\n")
