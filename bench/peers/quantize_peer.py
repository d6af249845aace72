"""torchao: the linear layers of a model of the shape of Qwen2-0.5B become int4 in groups of GROUP columns, packed for a CPU.
`quantize_peer.py THREADS RUNS GROUP` prints the least seconds, and the processor's, as JSON."""
import json
import sys
import time

import torch
from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig
from torchao.quantization import quantize_

torch.set_num_threads(int(sys.argv[1]))
group = int(sys.argv[3])
shapes = [(896, 896), (128, 896), (128, 896), (896, 896), (4864, 896), (4864, 896), (896, 4864)]
seconds, cpu = [], []
for _ in range(int(sys.argv[2])):
    layers = [torch.nn.Linear(k, n, bias=False, dtype=torch.bfloat16) for _ in range(24) for n, k in shapes]
    model = torch.nn.ModuleList(layers)
    clock, used = time.perf_counter(), time.process_time()
    quantize_(model, PrototypeInt4WeightOnlyConfig(group_size=group))
    seconds.append(time.perf_counter() - clock)
    cpu.append(time.process_time() - used)
print(json.dumps({"seconds": min(seconds), "cpu": min(cpu)}))
