"""Does the jobs of a JSON list with GPTQModel, AutoAWQ and transformers; see the tests beside it. Each writes into `out`
the weights of all quantized layers, dequantized in float32, by name.

gptq           GPTQModel.load(folder)
transformers   AutoModelForCausalLM.from_pretrained(folder)
awq            AutoAWQ's WQLinear_GEMM for each layer of the folder
gemv           the same of WQLinear_GEMV, whose own packer has to make the same tensors of the weights
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
from awq.modules.linear.gemm import WQLinear_GEMM
from awq.modules.linear.gemv import WQLinear_GEMV
from awq.utils.packing_utils import dequantize_gemm
from gptqmodel import BACKEND, GPTQModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AwqConfig, GPTQConfig


def record(model, out):
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "qweight")}
    save_file({f"{name}.weight": dequantized(layer) for name, layer in layers.items()}, out)


def dequantized(layer):
    layer.scales = layer.scales.float()
    if not hasattr(layer, "dequantize_weight"):
        return dequantize_gemm(layer.qweight, layer.qzeros, layer.scales, 4, layer.group_size).T.contiguous()
    return layer.dequantize_weight().T.contiguous()


def gptq(job):
    # Of its kernels the one that is compiled by nobody.
    record(GPTQModel.load(job["folder"], device="cpu", dtype=torch.float16, backend=BACKEND.TORCH).model, job["out"])


def transformers(job):
    method = json.load(open(f"{job['folder']}/config.json"))["quantization_config"]["quant_method"]
    config = AwqConfig(backend="torch_awq") if method == "awq" else GPTQConfig(bits=4, backend="torch")
    record(AutoModelForCausalLM.from_pretrained(job["folder"], device_map="cpu", dtype=torch.float16, quantization_config=config), job["out"])


def layers_of(folder):
    """The tensors of each quantized layer of a folder, and the columns of its groups."""
    settings = json.load(open(f"{folder}/config.json"))["quantization_config"]
    tensors = load_file(f"{folder}/model.safetensors")
    for path in sorted(name[: -len(".qweight")] for name in tensors if name.endswith(".qweight")):
        yield path, {name: tensors[f"{path}.{name}"] for name in ("qweight", "qzeros", "scales")}, settings["group_size"]


def awq(job):
    weights = {}
    for path, tensors, size in layers_of(job["folder"]):
        columns, out = tensors["qweight"].shape[0], tensors["scales"].shape[1]
        layer = WQLinear_GEMM(4, size, columns, out, False, "cpu")
        layer.load_state_dict(tensors)
        weights[f"{path}.weight"] = dequantized(layer)
    save_file(weights, job["out"])


def nibbles(words):
    return (words.unsqueeze(-1) >> torch.arange(0, 32, 4) & 15).flatten(1)


def gemv(job):
    weights = {}
    for path, tensors, size in layers_of(job["folder"]):
        out, columns = tensors["qweight"].shape[0], tensors["qweight"].shape[1] * 8
        size = columns if size == -1 else size
        layer = WQLinear_GEMV(4, size, columns, out, False, "cpu")
        layer.load_state_dict(tensors)
        zeros, scales = nibbles(layer.qzeros)[:, : columns // size], layer.scales[:, : columns // size]
        repeated = [values.repeat_interleave(size, dim=1) for values in (zeros, scales.float())]
        linear = torch.nn.Linear(columns, out, bias=False)
        linear.weight.data = (nibbles(layer.qweight) - repeated[0]) * repeated[1]
        again = WQLinear_GEMV.from_linear(linear, 4, size, scales=scales, zeros=zeros)
        assert all(torch.equal(value, tensors[name]) for name, value in again.state_dict().items()), path
        weights[f"{path}.weight"] = linear.weight.data
    save_file(weights, job["out"])


jobs = {"gptq": gptq, "transformers": transformers, "awq": awq, "gemv": gemv}
for job in json.load(open(sys.argv[1])):
    jobs[job["task"]](job)
