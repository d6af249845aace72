"""hqq's quantization of a matrix of normal values to 4 bits in groups of 64: python hqq_peer.py SIDE RUNS; see bench/algorithms.ts."""

import sys

import torch
from hqq.core.quantize import Quantizer
from usage import measured

side, runs = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(2)
weight = torch.randn(side, side, generator=torch.Generator().manual_seed(1)) * 0.02
measured(lambda: Quantizer.quantize(weight, nbits=4, group_size=64, axis=1, device="cpu"), runs)
