"""Writes test/golden/safetensors with the Python libraries themselves: safetensors, huggingface_hub, optimum-quanto, torch."""

import json
import os

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from optimum.quanto import freeze, qfloat8, qint2, qint4, qint8, quantize
from safetensors import safe_open
from safetensors.torch import save_file

folder = os.path.join(os.path.dirname(__file__), "..", "test", "golden", "safetensors")
os.makedirs(folder, exist_ok=True)
expected = {}


def save(name, tensors, metadata=None):
    """Saves, and records what the library itself reads back: dtype, shape and bytes in hexadecimal."""
    path = os.path.join(folder, name)
    save_file(tensors, path, metadata)
    with safe_open(path, "pt") as f:
        expected[name] = {
            "metadata": f.metadata() or {},
            "tensors": {
                key: {
                    "dtype": str(f.get_tensor(key).dtype).removeprefix("torch."),
                    "shape": list(f.get_tensor(key).shape),
                    "bytes": bytes(f.get_tensor(key).contiguous().flatten().view(torch.uint8).tolist()).hex(),
                }
                for key in f.keys()
            },
        }


save("empty.safetensors", {})

# One tensor of each dtype, named against the order in which they must be written.
values = torch.tensor([[0.5, -1.0, 1.75], [2.0, -3.5, 0.0]])
floats = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz]
integers = [torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool]
save(
    "dtypes.safetensors",
    {f"{9 - i}.{str(dtype)[6:]}": (values if dtype in floats else values.abs()).to(dtype) for i, dtype in enumerate(floats + integers)},
    {"format": "pt"},
)

# Names that need escaping or sort differently by UTF-16 unit; numbers as names; a scalar, an empty tensor.
save(
    "names.safetensors",
    {
        "10": torch.tensor([10.0]),
        "9": torch.tensor([9.0]),
        "__proto__": torch.tensor([1.0]),
        "constructor": torch.tensor([2.0]),
        'a "quoted" \\ name\n\x01\x7f': torch.tensor([3.0]),
        "\U0001f600": torch.tensor([4.0]),
        "\uffee": torch.tensor([5.0]),
        "é": torch.tensor([6.0]),
        "scalar": torch.tensor(7.0),
        "nothing": torch.zeros(0, 3),
    },
    {"note": 'é "quoted"'},
)

save("unsupported.safetensors", {"wide": torch.tensor([1.5], dtype=torch.float64), "known": torch.tensor([2.5])})

# Shards as transformers writes them; `large` exceeds the limit by itself.
state = {
    "embed": torch.arange(8.0),
    "large": torch.arange(20.0),
    "b.weight": torch.arange(4.0),
    "a.weight": torch.arange(6.0),
    "é": torch.arange(3.0),
}
split = split_torch_state_dict_into_shards(state, filename_pattern="sharded/model{suffix}.safetensors", max_shard_size=56)
os.makedirs(os.path.join(folder, "sharded"), exist_ok=True)
for name, keys in split.filename_to_tensors.items():
    save(name, {key: state[key] for key in keys}, {"format": "pt"})
weight_map = {key: os.path.basename(name) for key, name in split.tensor_to_filename.items()}
with open(os.path.join(folder, "sharded", "model.safetensors.index.json"), "w", encoding="utf-8") as f:
    f.write(json.dumps({"metadata": split.metadata, "weight_map": weight_map}, indent=2, sort_keys=True) + "\n")

# The worked example of quanto's packing: row 0 is (i - 100) / 100, then twice, minus and half of it.
example = torch.nn.Linear(256, 4, bias=False)
row = (torch.arange(256.0) - 100) / 100
example.weight.data = torch.stack([row, 2 * row, -row, row / 2])
for qtype in (qint4, qint2):
    model = torch.nn.Sequential(torch.nn.Linear(256, 4, bias=False))
    model[0].weight.data = example.weight.data.clone()
    quantize(model, weights=qtype)
    freeze(model)
    save(f"quanto-example-{qtype.name}.safetensors", model.state_dict())

# What quanto names its tensors, and their shapes, for many modules: names to [dtype, shape].
shapes = []
for qtype in (qint2, qint4, qint8, qfloat8):
    for dtype in (torch.float32, torch.float16):
        for module in (
            torch.nn.Linear(64, 5),
            torch.nn.Linear(100, 3, bias=False),
            torch.nn.Linear(128, 1),
            torch.nn.Linear(256, 1),
            torch.nn.Linear(160, 7),
            torch.nn.Linear(258, 2),
            torch.nn.Conv2d(8, 3, 3),
            torch.nn.Conv2d(32, 2, 3),
            torch.nn.Conv2d(8, 1, 3),
        ):
            model = torch.nn.Sequential(module.to(dtype))
            shape, bias = list(module.weight.shape), module.bias is not None
            quantize(model, weights=qtype)
            freeze(model)
            tensors = {key: [str(t.dtype)[6:], list(t.shape)] for key, t in model.state_dict().items()}
            shapes.append({"qtype": qtype.name, "shape": shape, "bias": bias, "dtype": str(dtype)[6:], "tensors": tensors})
with open(os.path.join(folder, "quanto-shapes.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(entry) for entry in shapes) + "\n]\n")

with open(os.path.join(folder, "expected.json"), "w") as f:
    json.dump(expected, f, indent=1)
