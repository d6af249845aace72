"""bitsandbytes: NF4 and int8, with the activations that it computes in. `bitsandbytes_peer.py THREADS`; see serve.py."""
import sys

import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from serve import Prepared, serve

torch.set_num_threads(int(sys.argv[1]))
torch.set_grad_enabled(False)
# What it is fastest with: bfloat16 only where the processor multiplies it.
has_avx512 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
compute_dtype = torch.bfloat16 if has_avx512 else torch.float32


def layer_of(work):
    n, k = work["n"], work["k"]
    if work["weights"] == "nf4":
        options = {"compute_dtype": compute_dtype, "quant_type": "nf4", "compress_statistics": False}
        layer = Linear4bit(k, n, bias=False, **options)
    elif work["weights"] == "int8":
        layer = Linear8bitLt(k, n, bias=False, has_fp16_weights=False)
    else:
        raise ValueError(f"has no product with {work['weights']}")
    # Quantized when it is moved to where it computes.
    layer.load_state_dict({"weight": torch.randn(n, k)})
    return layer.to("cpu").eval()


def make(work):
    layers = [layer_of(work) for _ in range(work["copies"])]
    values = work["n"] * work["k"]
    if work["weights"] == "nf4":
        name = str(compute_dtype).removeprefix("torch.")
        what, dtype, size = f"Linear4bit, {name}", compute_dtype, values // 2 + values // 64 * 4
    else:
        what, dtype, size = "Linear8bitLt", torch.float16, values + 4 * work["n"]
    x = torch.randn(work["rows"], work["k"], dtype=dtype)

    def run():
        for layer in layers:
            layer(x)

    return Prepared(what, size, run, len(layers))


serve(["bitsandbytes", "torch"], make)
