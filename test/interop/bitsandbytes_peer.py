"""Does the jobs of a JSON list with transformers and bitsandbytes; see test/interop/bitsandbytes.test.ts.

read    loads `folder`, then writes `out`: every weight, those of 4 and 8 bits dequantized, and the logits of `ids` that a model of them computes
write   quantizes the model in `float` by `config`, as `dtype`, and saves it into `folder`
"""

import json
import sys

import bitsandbytes as bnb
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def dequantize(weight):
    """
    The library's table and scales, in float32, then one rounding: its own functions for CPUs take the scales of other blocks where rows
    are whole vectors, and no whole blocks.
    """
    if isinstance(weight, bnb.nn.Int8Params):
        return weight.data.float() * weight.SCB[:, None] / 127
    state = weight.quant_state
    absmax = state.absmax
    if state.nested:
        absmax = bnb.functional.dequantize_blockwise(absmax, state.state2) + state.offset
    packed = weight.data.flatten().view(torch.uint8)
    codes = torch.stack([packed >> 4, packed & 15], 1).flatten()[: state.shape.numel()].long()
    scales = absmax.repeat_interleave(state.blocksize)[: codes.numel()]
    return (state.code[codes] * scales).reshape(state.shape).to(state.dtype)


def read(job):
    model = AutoModelForCausalLM.from_pretrained(job["folder"], device_map="cpu").eval()
    parameters = dict(model.named_parameters(remove_duplicate=False))
    coded = {name for name, parameter in parameters.items() if isinstance(parameter, (bnb.nn.Params4bit, bnb.nn.Int8Params))}
    tensors = {name: dequantize(p) if name in coded else p.detach() for name, p in parameters.items()}
    floats = type(model)(model.config).float().eval()
    # GPT-2's layers hold their weights the other way round, as floats.
    turned = {f"{name}.weight" for name, module in floats.named_modules() if type(module).__name__ == "Conv1D"} & coded
    floats.load_state_dict({name: (t.T if name in turned else t).float() for name, t in tensors.items()}, strict=False)
    with torch.no_grad():
        logits = floats(torch.tensor([job["ids"]])).logits[0]
    save_file({n: t.clone().contiguous() for n, t in {**tensors, "logits": logits}.items()}, job["out"])


def write(job):
    config = BitsAndBytesConfig(bnb_4bit_compute_dtype=torch.float32, **job["config"])
    dtype = getattr(torch, job["dtype"])
    model = AutoModelForCausalLM.from_pretrained(job["float"], quantization_config=config, device_map="cpu", dtype=dtype)
    model.save_pretrained(job["folder"])


# The order of sums decides the last bits of the mean of scales; in many threads it is another.
torch.set_num_threads(1)
for job in json.load(open(sys.argv[1])):
    {"read": read, "write": write}[job["task"]](job)
