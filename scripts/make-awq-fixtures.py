"""Writes test/golden/awq.safetensors: codes, scales and zero points of small layers as AWQ's own packers lay them out, and the weights
that they stand for.

Needs the packages autoawq 0.2.9, gptqmodel 7.7.0 (see test/interop/gptq/requirements.txt), and a clone of
github.com/mit-han-lab/llm-awq, which is no package: LLM_AWQ=FOLDER.

<case>/qweight …     the tensors of the layer
<case>/dequantized   [out, in] float32, (q − z) · s; of the layouts with scaled zeros q · s + scaled_zeros
"""

import importlib.machinery
import os
import sys
import types
import warnings

warnings.filterwarnings("ignore")
for name in ("datasets", "awq_inference_engine"):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules[name] = module
sys.modules["datasets"].load_dataset = sys.modules["datasets"].Dataset = None

import torch
from awq.modules.linear.gemm import WQLinear_GEMM
from awq.modules.linear.gemv import WQLinear_GEMV
from awq.modules.linear.gemv_fast import WQLinear_GEMVFast
from awq.utils.packing_utils import dequantize_gemm
from gptqmodel.nn_modules.qlinear.torch_awq import AwqTorchLinear
from safetensors.torch import save_file

source = open(os.path.join(os.environ["LLM_AWQ"], "awq/quantize/qmodule.py")).read()
llm_awq = types.ModuleType("qmodule")
exec(compile(source, "qmodule.py", "exec"), llm_awq.__dict__)
generator = torch.Generator().manual_seed(11)


def layer(out, columns, size, dtype=torch.float16, symmetric=False):
    """A weight that its codes stand for exactly, scales and zero points [out, groups], and the codes."""
    groups = columns // size
    codes = torch.randint(0, 16, (out, columns), generator=generator)
    zeros = torch.full((out, groups), 8) if symmetric else torch.randint(0, 16, (out, groups), generator=generator)
    scales = (torch.rand(out, groups, generator=generator) / 16 + 1 / 256).to(dtype)
    repeated = [values.repeat_interleave(size, dim=1) for values in (scales, zeros)]
    linear = torch.nn.Linear(columns, out, bias=False)
    linear.weight.data = (codes - repeated[1]).float() * repeated[0].float()
    return linear, scales, zeros, codes


def tensors(module, linear):
    return {**{name: value.contiguous() for name, value in module.state_dict().items()}, "dequantized": linear.weight.data}


def gemm(out, columns, size):
    linear, scales, zeros, _ = layer(out, columns, size)
    packed = WQLinear_GEMM.from_linear(linear, 4, size, scales=scales.t().contiguous(), zeros=zeros.t().contiguous())
    theirs = dequantize_gemm(packed.qweight, packed.qzeros, packed.scales.float(), 4, size)
    assert torch.equal(theirs.t(), linear.weight.data)
    return tensors(packed, linear)


def gemm_symmetric(out, columns, size):
    """As GPTQModel packs weights whose zero points are all 8."""
    linear, scales, zeros, _ = layer(out, columns, size, symmetric=True)
    packed = AwqTorchLinear(bits=4, group_size=size, sym=True, desc_act=False, in_features=columns, out_features=out, register_buffers=True)
    packed.pack(linear, scales, zeros.float())
    return tensors(packed, linear)


def gemv(out, columns, size):
    linear, scales, zeros, _ = layer(out, columns, size)
    return tensors(WQLinear_GEMV.from_linear(linear, 4, size, scales=scales, zeros=zeros), linear)


def scaled(packed, name, linear, scales, codes, size):
    """The weight of layouts that hold floats in place of zero points."""
    groups = scales.shape[1]
    repeated = [values.repeat_interleave(size, dim=1).float() for values in (scales, getattr(packed, name)[:groups].t())]
    return {**tensors(packed, linear), "dequantized": codes.float() * repeated[0] + repeated[1]}


def gemv_fast(out, columns, size):
    linear, scales, zeros, codes = layer(out, columns, size)
    return scaled(WQLinear_GEMVFast.from_linear(linear, 4, size, scales=scales, zeros=zeros), "qzeros", linear, scales, codes, size)


def llm(out, columns, size, dtype):
    linear, scales, zeros, codes = layer(out, columns, size, dtype)
    packed = llm_awq.WQLinear.from_linear(linear, 4, size, scales=scales, zeros=zeros)
    return scaled(packed, "scaled_zeros", linear, scales, codes, size)


cases = {
    "gemm-32": gemm(64, 96, 32),
    "gemm-row": gemm(32, 200, 200),
    "gemm-symmetric": gemm_symmetric(40, 192, 64),
    "gemv-32": gemv(40, 192, 32),
    "gemv-64": gemv(16, 320, 64),
    "gemv-128": gemv(24, 384, 128),
    "gemv_fast-32": gemv_fast(40, 192, 32),
    "gemv_fast-row": gemv_fast(16, 128, 128),
    "llm-awq-64": llm(24, 128, 64, torch.float16),
    "llm-awq-bfloat16": llm(24, 256, 128, torch.bfloat16),
}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../test/golden/awq.safetensors")
save_file({f"{case}/{name}": value for case, values in cases.items() for name, value in values.items()}, path)
os.chmod(path, 0o644)
print(path, os.path.getsize(path), "bytes")
