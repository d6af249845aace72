"""Writes test/golden/quanto with optimum-quanto itself: what stories260K does not exercise.

dtypes.safetensors   two modules of stories260K, cast to float32, float16 and bfloat16, quantized to every type: codes, scales, shifts
                     as quanto saves them, and the dequantized weight, under `<dtype>/<qtype>/<module>.weight…`
groups/              a small Llama with random weights (seeded; all of them bfloat16 numbers, and stored so) whose layers have 160,
                     192 and 256 columns, so that quanto takes groups of 32, 96 and 128
groups-qint4/        its folder as quanto saved it; -qint2/ likewise
groups.json          prompt; groups-expected.safetensors: the prompt's logits by PyTorch, float and quantized
"""

import json
import os
import shutil

import torch
from optimum.quanto import QuantizedModelForCausalLM, freeze, qfloat8_e4m3fn, qfloat8_e4m3fnuz, qfloat8_e5m2, qint2, qint4, qint8, quantize
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
folder = os.path.join(root, "test", "golden", "quanto")
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)

modules = ["model.layers.0.self_attn.k_proj", "model.layers.2.mlp.down_proj"]
types = [qint2, qint4, qint8, qfloat8_e4m3fn, qfloat8_e5m2, qfloat8_e4m3fnuz]
weights = load_file(os.path.join(root, "models", "stories260K", "model.safetensors"))


def quantized_linear(weight, qtype):
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = torch.nn.Parameter(weight)
    holder = torch.nn.Sequential(linear)
    quantize(holder, weights=qtype)
    freeze(holder)
    return holder[0]


tensors = {}
for dtype in [torch.float32, torch.float16, torch.bfloat16]:
    for qtype in types:
        for module in modules:
            linear = quantized_linear(weights[f"{module}.weight"].to(dtype), qtype)
            prefix = f"{str(dtype)[6:]}/{qtype.name}/{module}.weight"
            for key, value in linear.state_dict().items():
                if key.startswith("weight."):
                    tensors[f"{prefix}{key.removeprefix('weight')}"] = value
            # One row in four is enough to see each code's value.
            tensors[f"{prefix}.dequantized"] = linear.weight.dequantize()[::4].contiguous()
save_file(tensors, os.path.join(folder, "dtypes.safetensors"))

config = LlamaConfig(
    vocab_size=64,
    hidden_size=160,
    intermediate_size=192,
    num_hidden_layers=2,
    num_attention_heads=8,
    num_key_value_heads=2,
    head_dim=32,
    max_position_embeddings=128,
    tie_word_embeddings=False,
)
torch.manual_seed(0)
model = LlamaForCausalLM(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        spread = 0.2 * torch.randn_like(parameter) if "norm" in name else torch.randn_like(parameter) / parameter.shape[-1] ** 0.5
        parameter.copy_((spread + ("norm" in name)).to(torch.bfloat16).float())
model.to(torch.bfloat16).save_pretrained(os.path.join(folder, "groups"))

prompt = [1, 17, 42, 5, 63, 0, 33, 8, 21, 54, 2, 60]
expected = {}


def load_float():
    return LlamaForCausalLM.from_pretrained(os.path.join(folder, "groups"), dtype=torch.float32).eval()


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([prompt])).logits[0].contiguous()


expected["float"] = logits(load_float())
for qtype in [qint4, qint2]:
    quantized = QuantizedModelForCausalLM.quantize(load_float(), weights=qtype)
    quantized.save_pretrained(os.path.join(folder, f"groups-{qtype.name}"))
    # The model card that the library adds says nothing about the model.
    os.remove(os.path.join(folder, f"groups-{qtype.name}", "README.md"))
    expected[qtype.name] = logits(quantized)
save_file(expected, os.path.join(folder, "groups-expected.safetensors"))
with open(os.path.join(folder, "groups.json"), "w") as file:
    json.dump({"prompt_ids": prompt}, file)
    file.write("\n")
# safetensors writes files that only their owner may read.
for path, _, names in os.walk(folder):
    for name in names:
        os.chmod(os.path.join(path, name), 0o644)
