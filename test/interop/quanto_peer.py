"""Does the jobs of a JSON list with optimum-quanto; see test/interop/quanto.test.ts.

read    QuantizedModelForCausalLM.from_pretrained(folder), then `out`: every weight dequantized, and the logits of `ids`; with
        `activations` the scales of inputs and outputs, too
load    makes a model of module_models.py, requantizes it from `folder` and writes its output for `x` into `out`
write   quantizes the model in `float`, as `dtype`, and saves it into `folder`; `out` as above, of the model before it is saved
"""

import json
import sys

import module_models
import torch
from optimum.quanto import QTensor, QuantizedModelForCausalLM, qfloat8, qfloat8_e4m3fnuz, qfloat8_e5m2, qint2, qint4, qint8, requantize
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

types = {"int8": qint8, "int4": qint4, "int2": qint2, "float8": qfloat8, "float8_e5m2": qfloat8_e5m2, "float8_e4m3fnuz": qfloat8_e4m3fnuz}


def in_float32(parameter):
    """The weight that codes, scale and shift stand for, computed in float32 whatever their dtype."""
    if not isinstance(parameter, QTensor):
        return parameter.float()
    packed = hasattr(parameter, "_shift")
    codes = parameter._data.unpack() if packed else parameter._data
    weight = codes.float() * parameter._scale.float() - (parameter._shift.float() if packed else 0)
    return weight.reshape(parameter.shape)


def record(quantized, ids, out, activations=False):
    model = quantized._wrapped.eval()
    parameters = dict(model.named_parameters(remove_duplicate=False))
    weights = {name: parameter.dequantize() if isinstance(parameter, QTensor) else parameter for name, parameter in parameters.items()}
    scales = {name: scale for name, scale in model.state_dict().items() if name.endswith(("input_scale", "output_scale"))}
    # The library's own forward pass; for 16 bits, where PyTorch 2.15 crashes on bfloat16 with int8, a float32 model of the same codes.
    if model.dtype != torch.float32:
        model = type(model)(model.config).float().eval()
        model.load_state_dict({name: in_float32(parameter) for name, parameter in parameters.items()})
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits
    logits = (logits.dequantize() if isinstance(logits, QTensor) else logits)[0]
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in {**weights, **(scales if activations else {}), "logits": logits}.items()}, out)


def load(job):
    model = getattr(module_models, job["model"])()
    requantize(model, load_file(f"{job['folder']}/model.safetensors"), json.load(open(f"{job['folder']}/quanto_qmap.json")))
    with torch.no_grad():
        output = model(torch.tensor(job["x"], dtype=torch.float32).reshape(job["shape"]))
    save_file({"output": output.dequantize().contiguous()}, job["out"])


for job in json.load(open(sys.argv[1])):
    if job["task"] == "load":
        load(job)
        continue
    if job["task"] == "read":
        quantized = QuantizedModelForCausalLM.from_pretrained(job["folder"])
    else:
        model = AutoModelForCausalLM.from_pretrained(job["float"], dtype=getattr(torch, job["dtype"]))
        quantized = QuantizedModelForCausalLM.quantize(model, weights=types[job["weights"]], exclude=job.get("exclude"))
        quantized.save_pretrained(job["folder"])
    record(quantized, job["ids"], job["out"], job.get("activations", False))
