"""Writes the folders of stories260K that mlx-lm makes with mlx (test/golden/stories260K/mlx-*), and what is to be expected of them.

Needs the packages mlx (of mlx[cpu] on Linux), mlx-lm, torch and transformers. See scripts/scheme_fixtures.py.

mlx-mixed   affine codes of 2, 3, 4, 5, 6 and 8 bits in groups of 32 and 64, float32, by layer; the embedding, which is the head, too
mlx-w8-g32  affine codes of 8 bits; embedding, head and layers of 172 columns float
mlx-mxfp4   4-bit floats with powers of two, and among them layers in the modes mxfp8 and nvfp4, bfloat16

test/golden/mlx.safetensors   weights [8, 128] of each dtype, `<dtype>`, and what mx.quantize makes of them in groups of 64, in codes of
                              each number of bits: `<dtype>.<bits>.{weight, scales, biases}`, and `.dequantized`
"""

import os

import mlx.core as mx
import numpy as np
import torch
from mlx_lm.utils import load_model, quantize_model, save_config, save_model
from pathlib import Path

import scheme_fixtures as fixtures


def affine(bits, group_size):
    return {"bits": bits, "group_size": group_size, "mode": "affine"}


def mode(name):
    group_size, bits = {"mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}[name]
    return {"bits": bits, "group_size": group_size, "mode": name}


variants = {
    "mlx-mixed": (mx.float32, affine(4, 64), {
        "embed_tokens": affine(6, 32), "q_proj": affine(8, 64), "k_proj": affine(2, 32), "v_proj": affine(3, 64),
        "o_proj": affine(5, 32), "gate_proj": affine(6, 64), "up_proj": True, "down_proj": False,
    }),
    "mlx-w8-g32": (mx.float32, affine(8, 32), {"embed_tokens": False, "lm_head": False, "down_proj": False}),
    "mlx-mxfp4": (mx.bfloat16, mode("mxfp4"), {
        "embed_tokens": mode("mxfp8"), "v_proj": mode("mxfp8"), "up_proj": mode("nvfp4"), "down_proj": False,
    }),
}


def to_torch(array):
    return torch.from_numpy(np.array(array.astype(mx.float32)))


for variant, (dtype, settings, layers) in variants.items():
    folder = fixtures.fresh(variant)
    model, config = load_model(Path(fixtures.float_folder))
    model.set_dtype(dtype)

    def predicate(path, module):
        return layers.get(path.split(".")[-1], True)

    model, config = quantize_model(model, config, settings["group_size"], settings["bits"], mode=settings["mode"], quant_predicate=predicate)
    save_model(folder, model)
    save_config(config, Path(folder) / "config.json")
    os.remove(os.path.join(folder, "model.safetensors.index.json"))
    weights = {}
    for path, module in model.named_modules():
        if not hasattr(module, "bits"):
            continue
        parts = {"scales": module.scales, "biases": module.get("biases"), "group_size": module.group_size, "bits": module.bits}
        weights[f"{path}.weight"] = to_torch(mx.dequantize(module.weight, mode=module.mode, **parts))
    floats = {name: to_torch(value) for name, value in mx.load(os.path.join(folder, "model.safetensors")).items()
              if name.endswith("weight") and name not in weights}
    logits = to_torch(model(mx.array([fixtures.inputs["prompt_ids"]]))[0])
    fixtures.expect(variant, "mlx-lm", f"0.32.2, mlx {mx.__version__}", "mlx_lm.utils.quantize_model", weights, logits,
                    fixtures.float_model({**weights, **floats}))
    print(variant, len(weights), "layers")

generator = np.random.default_rng(11)
floats = generator.standard_normal((8, 128)).astype(np.float32)
floats[0] = 0
floats[1] = 0.3
floats[2, :64] = -0.3
floats[3] = np.abs(floats[3])
floats[4] = -np.abs(floats[4]) - 1
floats[5] = 1e-9
tensors = {}
for name in ("float32", "float16", "bfloat16"):
    weight = mx.array(floats).astype(getattr(mx, name))
    tensors[name] = weight
    for bits in (2, 3, 4, 5, 6, 8):
        words, scales, biases = mx.quantize(weight, group_size=64, bits=bits)
        parts = {"weight": words.view(mx.int32), "scales": scales, "biases": biases}
        parts["dequantized"] = mx.dequantize(words, scales, biases, group_size=64, bits=bits)
        tensors.update({f"{name}.{bits}.{part}": value for part, value in parts.items()})
mx.save_safetensors(os.path.join(fixtures.golden, "mlx.safetensors"), tensors)
