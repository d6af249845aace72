"""GPTQModel's quantization of a model of floats: python gptq_peer.py FOLDER IDS; see bench/algorithms.ts."""

import importlib.machinery
import json
import os
import sys
import types

# As many as its loader wants; a machine of two processors has one.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
# GPTQModel imports the library of data sets, which nothing here uses.
datasets = types.ModuleType("datasets")
datasets.__spec__ = importlib.machinery.ModuleSpec("datasets", None)
datasets.Dataset = datasets.load_dataset = None
sys.modules["datasets"] = datasets

import torch
from usage import measured

from gptqmodel import GPTQModel, QuantizeConfig

folder, ids = sys.argv[1], json.load(open(sys.argv[2]))
torch.set_num_threads(2)
data = [{"input_ids": sample, "attention_mask": [1] * len(sample)} for sample in ids]
config = QuantizeConfig(
    bits=4, group_size=128, sym=True, desc_act=False, act_group_aware=False, damp_percent=0.01, offload_to_disk=False
)
model = GPTQModel.load(folder, config, dtype=torch.float32, device="cpu")
measured(lambda: model.quantize(data, batch_size=1, calibration_sort=None))
