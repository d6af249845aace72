"""Writes test/golden/quanto/modules.{safetensors,json}: what optimum-quanto makes of models that need more than a list of Linear layers.

    python scripts/make-module-fixtures.py test/golden/quanto

shared  one block at three places; its tensors as `state_dict` lists them, and as safetensors' `save_model` writes them, once
tied    two layers with one float weight, each quantized
plain   a LayerNorm without weight and bias, its output quantized
single  a convolution and a Linear layer with one output each, in 4 and in 2 bits
"""

import json
import pathlib
import sys
import tempfile

import optimum.quanto as quanto
import torch
from safetensors.torch import load_file, save_file, save_model

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "test/interop"))
from module_models import Plain, Shared, Single, Tied  # noqa: E402

tensors, maps = {}, {}


def record(name, model, x, **types):
    quanto.quantize(model, **types)
    if "activations" in types:
        with torch.no_grad(), quanto.Calibration(streamline=False):
            model(x)
    quanto.freeze(model)
    maps[name] = quanto.quantization_map(model)
    for key, value in model.state_dict().items():
        # LayerNorm's weight is None.
        if value is not None:
            tensors[f"{name}.{key}"] = value.detach().clone()
    tensors[f"{name}.x"] = x
    tensors[f"{name}.output"] = model(x).dequantize().detach().clone()
    return model


torch.manual_seed(5)
shared = record("shared", Shared(), torch.randn(2, 8), weights=quanto.qint8)
with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
    save_model(shared, file.name)
    for key, value in load_file(file.name).items():
        tensors[f"once.{key}"] = value.clone()
record("tied", Tied(), torch.randn(2, 8), weights=quanto.qint8)
record("plain", Plain(), torch.randn(2, 8), weights=quanto.qint8, activations=quanto.qint8)
for bits in (4, 2):
    record(f"single{bits}", Single(), torch.randn(3, 2, 4, 4), weights=getattr(quanto, f"qint{bits}"))
save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, f"{sys.argv[1]}/modules.safetensors")
json.dump(maps, open(f"{sys.argv[1]}/modules.json", "w"), indent=1)
print({name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()})
print(maps)
