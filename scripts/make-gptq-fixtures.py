"""Writes the folder of stories260K that GPTQModel makes with settings of single layers (test/golden/stories260K/gptq-mixed), and what is
to be expected of it.

Needs the packages of test/interop/requirements.txt and test/interop/gptq/requirements.txt. See scripts/scheme_fixtures.py.
"""

import importlib.machinery
import os
import shutil
import sys
import types

datasets = types.ModuleType("datasets")
datasets.__spec__ = importlib.machinery.ModuleSpec("datasets", None)
datasets.load_dataset = datasets.Dataset = None
sys.modules["datasets"] = datasets

import gptqmodel
import torch
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from gptqmodel.nn_modules.qlinear.torch import TorchLinear

from safetensors.torch import load_file

import scheme_fixtures as fixtures

# Its pool of threads refuses machines of few cores.
gptqmodel._default_cpu_workers = lambda: 2
variant = "gptq-mixed"
dynamic = {
    "+:.*\\.k_proj": {"bits": 8, "group_size": -1},
    "+:.*\\.layers\\.[12]\\..*v_proj": {"bits": 2, "sym": False},
    ".*\\.v_proj": {"bits": 3, "group_size": 64},
    "+:.*\\.o_proj": {"desc_act": True, "sym": False},
    "-:.*\\.layers\\.3\\..*": {},
}
settings = QuantizeConfig(bits=4, group_size=32, sym=True, desc_act=False, act_group_aware=False, damp_percent=0.01, dynamic=dynamic, pack_impl="original", offload_to_disk=False)
model = GPTQModel.load(fixtures.float_folder, settings, dtype=torch.float32, device="cpu")
ids = fixtures.inputs["ppl_ids"]
calibration = [{"input_ids": ids[start : start + 64], "attention_mask": [1] * 64} for start in range(0, 8 * 64, 64)]
model.quantize(calibration, batch_size=1, calibration_sort=None)
folder = fixtures.fresh(variant)
model.save(folder)
for name in os.listdir(folder):
    if name not in ("config.json", "model.safetensors", "quantize_config.json"):
        os.remove(os.path.join(folder, name))
for name in ("tokenizer.json", "tokenizer_config.json"):
    shutil.copy(os.path.join(fixtures.float_folder, name), folder)
loaded = GPTQModel.load(folder, device="cpu", dtype=torch.float16, backend=BACKEND.TORCH).model
for name in ("tokenizer.json", "tokenizer_config.json"):
    os.remove(os.path.join(folder, name))
weights = {}
for name, layer in loaded.named_modules():
    if isinstance(layer, TorchLinear):
        layer.scales = layer.scales.float()
        weights[f"{name}.weight"] = layer.dequantize_weight().t()
floats = {name: value for name, value in load_file(os.path.join(folder, "model.safetensors")).items() if name.endswith(".weight")}
fixtures.expect(variant, "gptqmodel", "7.7.0", f"GPTQModel.quantize, {settings.dynamic}", weights, None, fixtures.float_model({**floats, **weights}))
print(variant, len(weights), "layers", sum(len(files) for _, _, files in os.walk(folder)), "files")
