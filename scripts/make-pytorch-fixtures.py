"""Writes test/golden/pytorch with PyTorch itself: what torch.save makes of tensors, and what torch.load reads of that.

values.pt, values-legacy.pt    tensors of every dtype, views, tied ones, dictionaries in dictionaries; as a zip archive, and as PyTorch before
                               1.6 wrote files
expected.json                  of each of them: dtype, shape and bytes of every tensor, in hexadecimal, as PyTorch reads them
refused/                       files that hold more than tensors
qwen2/, mistral/               the models of test/golden/families: pytorch_model.bin, and shards with an index
"""

import json
import os
import shutil
from collections import OrderedDict

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from transformers import AutoModelForCausalLM

golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "golden")
folder = os.path.join(golden, "pytorch")
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(os.path.join(folder, "refused"))
expected = {}


def named(value, path=()):
    if isinstance(value, torch.Tensor):
        yield ".".join(path) or "tensor", value
    elif isinstance(value, (dict, list, tuple)):
        for key, held in value.items() if isinstance(value, dict) else enumerate(value):
            yield from named(held, (*path, str(key)))


def save(name, value, **options):
    path = os.path.join(folder, name)
    torch.save(value, path, **options)
    expected[name] = {
        key: {
            "dtype": str(x.dtype).removeprefix("torch."),
            "shape": list(x.shape),
            "bytes": bytes(x.detach().contiguous().flatten().view(torch.uint8).tolist()).hex() if x.numel() else "",
        }
        for key, x in named(torch.load(path, weights_only=True))
    }


numbers = torch.tensor([[0.5, -1.0, 1.75, 3.0], [2.0, -3.5, 0.0, 1.5], [8.0, 0.25, -6.0, 1.0]])
dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
          torch.complex64]
new = [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32]
images = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5)
shared = torch.arange(10, dtype=torch.float32)


def values(dtypes):
    state = OrderedDict((str(dtype).removeprefix("torch."), numbers.to(dtype)) for dtype in dtypes)
    state["parameter"] = torch.nn.Parameter(numbers[1])
    state["scalar"] = torch.tensor(7.0)
    state["empty"] = torch.zeros(0, 3)
    state["transposed"] = numbers.t()
    state["columns"] = numbers[:, 1:3]
    state["rows"] = numbers[1:]
    state["every second"] = numbers[::2, ::2]
    state["channels last"] = images.to(memory_format=torch.channels_last)
    state["tied.first"] = shared
    state["tied.second"] = shared
    state["part"] = shared[3:7].view(2, 2)
    state["nested"] = {"model": OrderedDict(weight=numbers[0]), "list": [numbers[0, :2], (numbers[0, 2:],)], 3: numbers[2]}
    state["step"], state["name"], state["none"], state["rate"], state["large"] = 3, "a model", None, 1e-3, 2**70
    state["flags"] = [True, False]
    state["size"], state["type"], state["device"] = numbers.shape, torch.bfloat16, torch.device("cpu")
    return state


save("values.pt", values(dtypes + new))
save("values-legacy.pt", values(dtypes), _use_new_zipfile_serialization=False)
save("tensor.pt", numbers)
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
save("module-state.pt", model.state_dict())

refused = os.path.join(folder, "refused")
torch.save(model, os.path.join(refused, "module.pt"))
torch.save({"x": torch.quantize_per_tensor(numbers, 0.1, 3, torch.quint8)}, os.path.join(refused, "quantized.pt"))
torch.save({"x": numbers.to_sparse()}, os.path.join(refused, "sparse.pt"))
torch.save({"x": numbers.numpy()}, os.path.join(refused, "numpy.pt"))
torch.save({"x": numbers}, os.path.join(refused, "protocol4.pt"), pickle_protocol=4)
torch.save({"x": torch.zeros(1).expand(1000, 1000)}, os.path.join(folder, "expanded.pt"))

for family in ["qwen2", "mistral"]:
    model = AutoModelForCausalLM.from_pretrained(os.path.join(golden, "families", family), dtype="auto")
    out = os.path.join(folder, family)
    os.makedirs(out)
    shutil.copy(os.path.join(golden, "families", family, "config.json"), out)
    state = model.state_dict()
    if family == "qwen2":
        # As transformers did it before it wrote safetensors.
        torch.save(state, os.path.join(out, "pytorch_model.bin"))
        continue
    split = split_torch_state_dict_into_shards(state, filename_pattern="pytorch_model{suffix}.bin", max_shard_size=30_000)
    for file, names in split.filename_to_tensors.items():
        torch.save({name: state[name].clone() for name in names}, os.path.join(out, file))
    with open(os.path.join(out, "pytorch_model.bin.index.json"), "w") as f:
        json.dump({"metadata": split.metadata, "weight_map": split.tensor_to_filename}, f, indent=2)

with open(os.path.join(folder, "expected.json"), "w") as f:
    json.dump(expected, f, indent=1)
