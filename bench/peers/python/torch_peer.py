"""PyTorch: products of float32. `torch_peer.py THREADS`; see serve.py."""
import sys

import torch
from serve import Prepared, serve

torch.set_num_threads(int(sys.argv[1]))
torch.set_grad_enabled(False)


def make(work):
    m, n, k = work["rows"], work["n"], work["k"]
    x, out = torch.randn(m, k), torch.empty(m, n)
    if work["weights"] != "float32":
        raise ValueError(f"has no product with {work['weights']}")
    w = torch.randn(k, n) if work["plain"] else torch.randn(n, k).t()
    return Prepared("mm", 4 * n * k, lambda: torch.mm(x, w, out=out))


serve(["torch"], make)
