"""Writes folders of stories260K whose weights are BitNet's (test/golden/stories260K/bitnet-*), and what is to be expected of them.

Needs the packages torch, accelerate and transformers; run it with TORCHDYNAMO_DISABLE=1. See scripts/scheme_fixtures.py.

bitnet-packed   linear_class bitlinear: ternary codes, w = t / weight_scale
bitnet-auto     autobitlinear, offline: w = t · weight_scale
bitnet-online   autobitlinear, online: bfloat16 weights, rounded in every pass
"""

import json
import os

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.integrations.bitnet import WeightQuant, pack_weights

import scheme_fixtures as fixtures

variants = {
    "bitnet-packed": {"linear_class": "bitlinear", "quantization_mode": "offline"},
    "bitnet-auto": {"linear_class": "autobitlinear", "quantization_mode": "offline"},
    "bitnet-online": {"linear_class": "autobitlinear", "quantization_mode": "online"},
}

for variant, settings in variants.items():
    folder = fixtures.fresh(variant)
    dtype = torch.bfloat16 if variant == "bitnet-online" else torch.float32
    model = fixtures.float_model()
    tensors = {name: tensor.detach().clone().to(dtype) for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    weights = {}
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        weight = tensors[f"{name}.weight"]
        if variant == "bitnet-online":
            weights[f"{name}.weight"] = WeightQuant.apply(weight).float()
            continue
        scale = 1 / weight.abs().mean().clamp(min=1e-5)
        codes = (weight * scale).round().clamp(-1, 1)
        stored = scale if variant == "bitnet-packed" else 1 / scale
        weights[f"{name}.weight"] = codes / stored if variant == "bitnet-packed" else codes * stored
        tensors[f"{name}.weight"] = pack_weights(codes.clone())
        tensors[f"{name}.weight_scale"] = stored.view(1)
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config = json.load(open(os.path.join(fixtures.float_folder, "config.json")))
    config["quantization_config"] = {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"], **settings}
    json.dump(config, open(os.path.join(folder, "config.json"), "w"), indent=2)
    # transformers computes the last in bfloat16, as well as it can.
    logits = None
    if variant != "bitnet-online":
        logits = fixtures.logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), fixtures.inputs["prompt_ids"])
    floats = {name: tensor for name, tensor in tensors.items() if name not in weights and not name.endswith("_scale")}
    fixtures.expect(variant, "transformers", "5.23.0", "integrations/bitnet.py: pack_weights, WeightQuant", weights, logits,
                    fixtures.float_model({**weights, **floats}))
    print(variant, len(weights))
