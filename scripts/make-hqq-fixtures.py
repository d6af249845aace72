"""Writes folders of stories260K whose weights hqq quantized (test/golden/stories260K/hqq-*), and what is to be expected of them.

Needs the packages hqq 0.2.8.post1, torch and transformers. See scripts/scheme_fixtures.py.

hqq-w2-g64, hqq-w8-g64   every layer but the head in groups of 64 along axis 1
hqq-mixed                1 to 8 bits, both axes, groups of several sizes, codes as values of float32, by layer
"""

import json
import os

import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
from safetensors.torch import save_file

import scheme_fixtures as fixtures


def settings(nbits, group_size=64, axis=1, **others):
    return BaseQuantizeConfig(nbits=nbits, group_size=group_size, axis=axis, **others)


by_layer = {
    "q_proj": settings(4, 64, 0), "k_proj": settings(2, 32, 0), "v_proj": settings(8, 32, 0), "o_proj": settings(3, 16, 0),
    "gate_proj": settings(1, 32), "up_proj": settings(5, 16), "down_proj": settings(6, 64),
}
variants = {
    "hqq-w2-g64": lambda name: settings(2),
    "hqq-w8-g64": lambda name: settings(8),
    "hqq-mixed": lambda name: settings(4, view_as_float=True) if name.startswith("model.layers.4.") else by_layer[name.split(".")[-1]],
}

for variant, config_of in variants.items():
    folder = fixtures.fresh(variant)
    model = fixtures.float_model()
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    weights = {}
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        layer = HQQLinear(module, config_of(name), del_orig=False, compute_dtype=torch.float32, device="cpu")
        weights[f"{name}.weight"] = layer.dequantize().detach()
        del tensors[f"{name}.weight"]
        tensors.update({f"{name}.{key}": value.detach().contiguous() for key, value in layer.state_dict().items()})
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config = json.load(open(os.path.join(fixtures.float_folder, "config.json")))
    config["quantization_config"] = {"quant_config": settings(4), "quant_method": "hqq", "skip_modules": ["lm_head"]}
    json.dump(config, open(os.path.join(folder, "config.json"), "w"), indent=2)
    fixtures.expect(variant, "hqq", "0.2.8.post1", "HQQLinear(linear, BaseQuantizeConfig(…), compute_dtype=float32, device='cpu').state_dict()", weights)
    print(variant, len(weights))
