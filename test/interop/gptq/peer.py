"""Does the jobs of a JSON list with GPTQModel; see test/interop/gptq/gptq.test.ts.

gptq    GPTQModel.load(folder), then `out`: the weights of all quantized layers, dequantized in float32
"""

import importlib.machinery
import json
import sys
import types

# GPTQModel and AutoAWQ import the library of data sets, which nothing here uses.
datasets = types.ModuleType("datasets")
datasets.__spec__ = importlib.machinery.ModuleSpec("datasets", None)
datasets.Dataset = datasets.load_dataset = None
sys.modules["datasets"] = datasets

import torch
from gptqmodel import BACKEND, GPTQModel
from safetensors.torch import save_file


def dequantized(layer):
    layer.scales = layer.scales.float()
    return layer.dequantize_weight().T.contiguous()


def gptq(job):
    # Of its kernels the one that is compiled by nobody.
    model = GPTQModel.load(job["folder"], device="cpu", dtype=torch.float16, backend=BACKEND.TORCH).model
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "qweight")}
    save_file({f"{name}.weight": dequantized(layer) for name, layer in layers.items()}, job["out"])


jobs = {"gptq": gptq}
for job in json.load(open(sys.argv[1])):
    jobs[job["task"]](job)
