"""llm-compressor's AWQ of a model of floats: python awq_peer.py FOLDER IDS; see bench/algorithms.ts."""

import json
import sys

import torch
from usage import measured

from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.awq import AWQModifier
from transformers import AutoModelForCausalLM

folder, ids = sys.argv[1], json.load(open(sys.argv[2]))
torch.set_num_threads(2)
# Without a GPU there is no memory to pin, which its loader asks for all the same.
torch.Tensor.pin_memory = lambda self, *args, **options: self
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
data = Dataset.from_list([{"input_ids": sample, "attention_mask": [1] * len(sample)} for sample in ids])
weights = QuantizationArgs(num_bits=4, group_size=64, symmetric=False, strategy="group")
groups = {"group_0": QuantizationScheme(targets=["Linear"], weights=weights)}
recipe = [AWQModifier(config_groups=groups, ignore=["lm_head"], duo_scaling=True, n_grid=20)]
length = max(len(sample) for sample in ids)
measured(
    lambda: oneshot(
        model=model, dataset=data, recipe=recipe, max_seq_length=length, num_calibration_samples=len(ids)
    )
)
