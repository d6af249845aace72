"""Writes test/golden/torchao.safetensors: weights through torchao's tensor classes and reference functions.

Needs torch, torchao 0.18.0, safetensors and numpy; run in the repository's root: python scripts/make-torchao-fixtures.py

    <dtype>.weight [6, 128], <dtype>.<item>.{scale, codes, zero_point, dequant}     of the library, in its own dtypes
    x [4, 128], x.{int8, int8_asymmetric, float8}                                   activations after dynamic quantization a row
    x.y.{int8_dyn, 8da4w}                                                           outputs of the library's linear layers (float32)
"""

import torch
from safetensors.torch import save_file
from torchao.quantization.granularity import PerGroup, PerRow
from torchao.quantization.quant_primitives import (
    MappingType,
    _choose_qparams_affine_tinygemm,
    _choose_scale_float8,
    _dequantize_affine_tinygemm,
    _quantize_affine_float8,
    _quantize_affine_tinygemm,
)
from torchao.quantization.quantize_.workflows.float8.float8_tensor import Float8Tensor
from torchao.quantization.quantize_.workflows.int8.int8_tensor import Int8Tensor, QuantizeTensorToInt8Kwargs
from torchao.quantization.quantize_.workflows.intx.intx_unpacked_to_int8_tensor import (
    IntxUnpackedToInt8Tensor,
    _apply_int8_act_asym_per_token_quant_dequant,
)

torch.manual_seed(5)
weight = torch.randn(6, 128) * 0.1
weight[1] += 0.3  # no negative weight to speak of
weight[2, 7] = 3.0  # an outlier
weight[3, :64] = 0.25  # constant groups, and zeros
weight[4] = 0
x = torch.randn(4, 128)
x[1, 3] = -9.0
tensors = {"x": x}


def put(name, tensor):
    tensors[name] = tensor.detach().clone().contiguous()


for dtype in (torch.float32, torch.bfloat16, torch.float16):
    name = str(dtype).removeprefix("torch.")
    w = weight.to(dtype)
    put(f"{name}.weight", w)

    def item(label, quantized):
        put(f"{name}.{label}.scale", quantized.scale)
        put(f"{name}.{label}.codes", quantized.qdata)
        put(f"{name}.{label}.dequant", quantized.dequantize())
        if getattr(quantized, "zero_point", None) is not None:
            put(f"{name}.{label}.zero_point", quantized.zero_point)

    item("int8", Int8Tensor.from_hp(w, granularity=PerRow()))
    item("int8_g64", Int8Tensor.from_hp(w, granularity=PerGroup(64)))
    # Float8Tensor divides by the scale of a row of zeros.
    kept = w.clone()
    kept[4, 0] = 0.5
    put(f"{name}.weight_float8", kept)
    item("float8", Float8Tensor.from_hp(kept, granularity=PerRow()))
    for bits in (1, 2, 3, 4, 5, 6, 8):
        for mapping in MappingType:
            if mapping is not MappingType.SYMMETRIC and bits not in (4, 8):
                continue
            target = getattr(torch, f"int{bits}")
            item(f"int{bits}_{mapping.name}", IntxUnpackedToInt8Tensor.from_hp(w, (1, 64), target, mapping_type=mapping))
    scale, zero = _choose_qparams_affine_tinygemm(w, MappingType.ASYMMETRIC, (1, 64), torch.int32, 0, 15)
    codes = _quantize_affine_tinygemm(w, (1, 64), scale, zero, torch.uint8, 0, 15)
    put(f"{name}.tinygemm.scale", scale)
    put(f"{name}.tinygemm.zero", zero)
    put(f"{name}.tinygemm.codes", codes)
    put(f"{name}.tinygemm.dequant", _dequantize_affine_tinygemm(codes, (1, 64), scale, zero, torch.uint8, 0, 15, output_dtype=dtype))

put("x.int8", Int8Tensor.from_hp(x, granularity=PerRow()).dequantize())
put("x.int8_asymmetric", _apply_int8_act_asym_per_token_quant_dequant(x))
scale = _choose_scale_float8(x, [1, 128])
put("x.float8", _quantize_affine_float8(x, scale).float() * scale)
dynamic = Int8Tensor.from_hp(weight, granularity=PerRow(), act_quant_kwargs=QuantizeTensorToInt8Kwargs(granularity=PerRow()))
put("x.y.int8_dyn", torch.nn.functional.linear(x, dynamic))
four = IntxUnpackedToInt8Tensor.from_hp(weight, (1, 64), torch.int4, activation_quantization="int8_asym_per_token")
put("x.y.8da4w", torch.nn.functional.linear(x, four))
save_file(tensors, "test/golden/torchao.safetensors")
