"""GPTQModel's quantization of a model of floats: python gptq.py FOLDER SAMPLES LENGTH; see bench/gptq.ts."""

import importlib.machinery
import os
import resource
import sys
import time
import types

# As many as its loader wants; a machine of two processors has one.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
# GPTQModel imports the library of data sets, which nothing here uses.
datasets = types.ModuleType("datasets")
datasets.__spec__ = importlib.machinery.ModuleSpec("datasets", None)
datasets.Dataset = datasets.load_dataset = None
sys.modules["datasets"] = datasets

import torch
from gptqmodel import GPTQModel, QuantizeConfig

folder, samples, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(2)
generator = torch.Generator().manual_seed(1)
data = [
    {"input_ids": torch.randint(0, 40000, (length,), generator=generator).tolist(), "attention_mask": [1] * length}
    for _ in range(samples)
]
config = QuantizeConfig(
    bits=4, group_size=128, sym=True, desc_act=False, act_group_aware=False, damp_percent=0.01, offload_to_disk=False
)
model = GPTQModel.load(folder, config, dtype=torch.float32, device="cpu")
start = time.perf_counter()
model.quantize(data, batch_size=1, calibration_sort=None)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"{seconds:.1f} s, peak {peak} MiB")
