"""Writes folders of stories260K whose weights torchao quantized (test/golden/stories260K/torchao-*), and what is to be expected of them.

Needs the packages torchao, torch and transformers; MSLK is the folder that mslk-cuda is unpacked in, of which only the packing of
Int4Tensor runs, on any processor. See scripts/scheme_fixtures.py.

torchao-mixed        every subclass of tensors that lowbit reads, by layer, float32
torchao-8da4w        Int8DynamicActivationIntxWeightConfig of 4 bits, as transformers saves it
torchao-int8wo-bf16  Int8WeightOnlyConfig of a bfloat16 model, as transformers saves it
"""

import ast
import json
import os

import torch
from safetensors.torch import save_file
from torchao.prototype.mx_formats.mx_tensor import MXTensor
from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor, per_tensor_amax_to_scale
from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
from torchao.quantization import Float8Tensor, Int4Tensor, Int8Tensor, Int8WeightOnlyConfig, IntxUnpackedToInt8Tensor, MappingType
from torchao.quantization import Int8DynamicActivationIntxWeightConfig
from torchao.quantization.granularity import PerGroup, PerRow, PerTensor
from transformers import AutoModelForCausalLM, TorchAoConfig

import scheme_fixtures as fixtures


def mslk_functions(*names):
    """Functions of mslk's module of packings, without its imports of GPU kernels."""
    path = os.path.join(os.environ["MSLK"], "mslk", "quantize", "shuffle.py")
    module = ast.parse(open(path).read())
    module.body = [node for node in module.body if getattr(node, "name", None) in names]
    scope = {"torch": torch, "Tuple": tuple}
    exec(compile(module, path, "exec"), scope)
    return [scope[name] for name in names]


int4_row_quantize_zp, pack_int4 = mslk_functions("int4_row_quantize_zp", "pack_int4")


def int4(w, group_size=32):
    codes, scale, zero = int4_row_quantize_zp(w, group_size)
    return Int4Tensor(pack_int4(codes), scale, zero, [1, group_size], w.shape)


def intx(bits, mapping, group_size=None):
    return lambda w: IntxUnpackedToInt8Tensor.from_hp(w, (1, group_size or w.shape[1]), getattr(torch, f"int{bits}"), mapping_type=mapping)


def mx(dtype, swizzled=False):
    return lambda w: MXTensor.to_mx(w, dtype, 32, is_swizzled_scales=swizzled)


def nvfp4(w, swizzled=True):
    return NVFP4Tensor.to_nvfp4(w, per_tensor_scale=per_tensor_amax_to_scale(w.abs().max()), is_swizzled_scales=swizzled)


symmetric, asymmetric = MappingType.SYMMETRIC, MappingType.ASYMMETRIC
rules = {
    "0.self_attn.q_proj": lambda w: Int8Tensor.from_hp(w, PerGroup(32)),
    "0.self_attn.k_proj": lambda w: Int8Tensor.from_hp(w, PerTensor()),
    "0.self_attn.v_proj": lambda w: Float8Tensor.from_hp(w, granularity=PerTensor()),
    "0.self_attn.o_proj": lambda w: Float8Tensor.from_hp(w, float8_dtype=torch.float8_e5m2),
    "0.mlp.down_proj": lambda w: Int8Tensor.from_hp(w, PerRow()),
    "1.self_attn.q_proj": intx(2, asymmetric, 32),
    "1.self_attn.k_proj": intx(3, symmetric, 64),
    "1.self_attn.v_proj": intx(5, asymmetric),
    "1.self_attn.o_proj": intx(6, symmetric, 32),
    "1.mlp.gate_proj": intx(7, asymmetric, 32),
    "1.mlp.up_proj": intx(8, asymmetric, 32),
    "1.mlp.down_proj": intx(8, symmetric),
    "2.self_attn.q_proj": mx(torch.float8_e4m3fn),
    "2.self_attn.k_proj": mx(torch.float8_e5m2),
    "2.self_attn.v_proj": mx(torch.float8_e4m3fn, swizzled=True),
    "2.self_attn.o_proj": mx(torch.float4_e2m1fn_x2),
    "2.mlp.gate_proj": mx(torch.float4_e2m1fn_x2, swizzled=True),
    "3.self_attn.q_proj": nvfp4,
    "3.self_attn.k_proj": lambda w: nvfp4(w, swizzled=False),
    "3.mlp.gate_proj": nvfp4,
    "3.mlp.up_proj": lambda w: NVFP4Tensor.to_nvfp4(w, is_swizzled_scales=True),
    "4.self_attn.q_proj": int4,
    "4.mlp.gate_proj": lambda w: int4(w, 64),
}


def dequantized(weight):
    if isinstance(weight, Int4Tensor):
        low = (weight.qdata << 4) >> 4
        codes = torch.stack([low, weight.qdata >> 4], dim=-1).view(weight.shape)
        group = weight.block_size[1]
        scale, zero = [each.t().repeat_interleave(group, 1) for each in (weight.scale, weight.zero_point)]
        # torchao multiplies it on GPUs alone: scale · q + zero_point. Of codes from 0 up, in float32, that is within a rounding or two.
        floats = scale * (codes + 8) - (scale * 8 - zero)
        exact = codes.double() * scale.double() + zero.double()
        assert ((floats - exact).abs() <= 2**-22 * (16 * scale + zero.abs())).all()
        return floats
    return weight.dequantize()


folder = fixtures.fresh("torchao-mixed")
state = {name: tensor.detach().clone() for name, tensor in fixtures.float_model().state_dict().items() if name != "lm_head.weight"}
weights = {}
for path, rule in rules.items():
    name = f"model.layers.{path}.weight"
    state[name] = rule(state[name])
    weights[name] = dequantized(state[name])
tensors, metadata = flatten_tensor_state_dict(state)
save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={**metadata, "format": "pt"})
config = json.load(open(os.path.join(fixtures.float_folder, "config.json")))
quant_type = TorchAoConfig(Int8WeightOnlyConfig()).to_dict()
config["quantization_config"] = quant_type
json.dump(config, open(os.path.join(folder, "config.json"), "w"), indent=2)
fixtures.expect("torchao-mixed", "torchao", "0.18.0", "flatten_tensor_state_dict of tensors by from_hp, to_mx and to_nvfp4", weights)

no_head = ["lm_head", *(f"model.layers.{i}.mlp.down_proj" for i in range(5))]
int4_config = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(32))
for variant, dtype, quantization in [
    ("torchao-8da4w", torch.float32, TorchAoConfig(int4_config, modules_to_not_convert=no_head)),
    ("torchao-int8wo-bf16", torch.bfloat16, TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=["lm_head"])),
]:
    model = AutoModelForCausalLM.from_pretrained(fixtures.float_folder, quantization_config=quantization, device_map="cpu", dtype=dtype)
    folder = fixtures.fresh(variant)
    model.save_pretrained(folder)
    weights = {name: tensor.dequantize() for name, tensor in model.state_dict().items() if hasattr(tensor, "qdata")}
    floats = {name: tensor for name, tensor in model.state_dict().items() if not hasattr(tensor, "qdata") and name != "lm_head.weight"}
    logits = fixtures.logits(model, fixtures.inputs["prompt_ids"])
    fixtures.expect(variant, "torchao (transformers 5.23.0)", "0.18.0", f"from_pretrained({quantization.quant_type}).save_pretrained", weights, logits,
                    fixtures.float_model({**weights, **floats}))
    print(variant, len(weights), os.listdir(folder))
