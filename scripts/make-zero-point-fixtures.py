"""Writes test/golden/zeroPoints.safetensors: what GPTQModel's Quantizer and AutoAWQ's pseudo_quantize_tensor make of a weight whose
groups are its rows.

Needs the packages of test/interop/gptq/requirements.txt beside those of test/interop/requirements.txt.

<dtype>/weight                       [rows, 48], the last rows all of one sign, and of zeros
<dtype>/<who> <bits> <sym|asym>/…    scale [rows], zero [rows] (int32), codes [rows, 48] (uint8), as the library computes them; GPTQModel does in float32
"""

import importlib.machinery
import os
import sys
import types
import warnings

warnings.filterwarnings("ignore")
datasets = types.ModuleType("datasets")
datasets.__spec__ = importlib.machinery.ModuleSpec("datasets", None)
datasets.load_dataset = datasets.Dataset = None
sys.modules["datasets"] = datasets

import torch
from awq.quantize.quantizer import AwqQuantizer
from gptqmodel import QuantizeConfig
from gptqmodel.quantization.quantizer import Quantizer
from safetensors.torch import save_file

generator = torch.Generator().manual_seed(5)
weight = torch.randn(64, 48, generator=generator) * torch.exp(torch.randn(64, 1, generator=generator) - 2)
weight[60], weight[61], weight[62] = weight[60].abs() + 0.01, -weight[61].abs() - 0.01, 0


def gptq(w, bits, sym):
    quantizer = Quantizer(QuantizeConfig(bits=bits, sym=sym, group_size=-1, offload_to_disk=False))
    quantizer.configure(perchannel=True)
    quantizer.find_params(w, weight=True)
    scale, zero = quantizer.scale.reshape(-1, 1), quantizer.zero.reshape(-1, 1)
    return scale, zero, torch.clamp(torch.round(w / scale) + zero, 0, 2**bits - 1)


def awq(w, bits, sym):
    """The zero points, and codes from which it computes the weights that it gives back."""
    settings = types.SimpleNamespace(group_size=-1, zero_point=not sym, w_bit=bits)
    theirs, scale, zero = AwqQuantizer.pseudo_quantize_tensor(settings, w)
    codes = torch.clamp(torch.round(w / scale) + zero, 0, 2**bits - 1)
    assert torch.equal((codes - zero) * scale, theirs)
    return scale, zero, codes


tensors = {}
for dtype in (torch.float32, torch.float16):
    w = weight.to(dtype)
    name = str(dtype).split(".")[1]
    tensors[f"{name}/weight"] = w
    cases = [(gptq, bits, sym) for bits in (2, 3, 4, 8) for sym in (True, False)] + [(awq, 4, False)]
    for who, bits, sym in cases:
        scale, zero, codes = who(w, bits, sym)
        key = f"{name}/{who.__name__} {bits} {'sym' if sym else 'asym'}"
        tensors[f"{key}/scale"] = scale.flatten().contiguous()
        tensors[f"{key}/zero"] = zero.flatten().to(torch.int32)
        tensors[f"{key}/codes"] = codes.to(torch.uint8)
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../test/golden/zeroPoints.safetensors")
save_file(tensors, path)
os.chmod(path, 0o644)
print(len(tensors), "tensors", os.path.getsize(path), "bytes")
