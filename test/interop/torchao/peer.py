"""Does the jobs of a JSON list: `out` gets the weights of all quantized layers of `folder`, dequantized by its own library, by name.

mlx       mlx_lm.utils.load_model, then mlx.core.dequantize
hqq       HQQLinear.load_state_dict, then dequantize
torchao   transformers' from_pretrained, then dequantize
bitnet    transformers' unpack_weights, times the scale, for the layers that from_pretrained makes AutoBitLinear
"""

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def of_mlx(folder):
    import mlx.core as mx
    import numpy as np
    from mlx_lm.utils import load_model

    model, _ = load_model(Path(folder))
    weights = {}
    for name, module in model.named_modules():
        if hasattr(module, "bits"):
            parts = {"scales": module.scales, "biases": module.get("biases"), "group_size": module.group_size, "bits": module.bits}
            floats = mx.dequantize(module.weight, mode=module.mode, **parts)
            weights[f"{name}.weight"] = torch.from_numpy(np.array(floats.astype(mx.float32)))
    return weights


def of_hqq(folder):
    from hqq.core.quantize import HQQLinear

    tensors = load_file(os.path.join(folder, "model.safetensors"))
    weights = {}
    for path in [name.removesuffix(".W_q") for name in tensors if name.endswith(".W_q")]:
        layer = HQQLinear(None, None, compute_dtype=tensors[f"{path}.scale"].dtype, device="cpu")
        state = {name.removeprefix(f"{path}."): value for name, value in tensors.items() if name.startswith(f"{path}.")}
        layer.load_state_dict(state)
        weights[f"{path}.weight"] = layer.dequantize().float()
    return weights


def of_torchao(folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", device_map="cpu")
    return {name: weight.dequantize().float() for name, weight in model.state_dict().items() if hasattr(weight, "qdata")}


def of_bitnet(folder):
    from transformers import AutoModelForCausalLM
    from transformers.integrations.bitnet import AutoBitLinear, unpack_weights

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu")
    stored = load_file(os.path.join(folder, "model.safetensors"))
    weights = {}
    for name, module in model.named_modules():
        if isinstance(module, AutoBitLinear):
            codes = unpack_weights(stored[f"{name}.weight"], dtype=torch.float32)
            weights[f"{name}.weight"] = codes * stored[f"{name}.weight_scale"]
    return weights


libraries = {"bitnet": of_bitnet, "mlx": of_mlx, "hqq": of_hqq, "torchao": of_torchao}
for job in json.load(open(sys.argv[1])):
    save_file({name: weight.contiguous() for name, weight in libraries[job["library"]](job["folder"]).items()}, job["out"])
