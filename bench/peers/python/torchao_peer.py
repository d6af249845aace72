"""torchao: float8 weights with a scale a row. On a CPU it has products of whole floats alone, so each makes all of its weight
floats anew. `torchao_peer.py THREADS`; see serve.py."""
import sys

import torch
from serve import Prepared, serve
from torchao.quantization import Float8WeightOnlyConfig, quantize_

torch.set_num_threads(int(sys.argv[1]))
torch.set_grad_enabled(False)


def make(work):
    n, k = work["n"], work["k"]
    if work["weights"] != "float8":
        raise ValueError(f"has no product with {work['weights']}")
    # What it is fastest with.
    dtype = torch.float32 if work["rows"] == 1 else torch.bfloat16
    layers = torch.nn.ModuleList(torch.nn.Linear(k, n, bias=False, dtype=dtype) for _ in range(work["copies"]))
    quantize_(layers, Float8WeightOnlyConfig())
    x = torch.randn(work["rows"], k, dtype=dtype)

    def run():
        for layer in layers:
            layer(x)

    what = f"Float8WeightOnlyConfig, {str(dtype).removeprefix('torch.')}"
    return Prepared(what, n * k + 4 * n, run, len(layers))


serve(["torchao", "torch"], make)
