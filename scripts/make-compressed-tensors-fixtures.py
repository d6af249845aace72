"""Writes test/golden/compressed: layers that compressed-tensors compressed, and what it decompresses them to.

    python3 scripts/make-compressed-tensors-fixtures.py

Needs compressed-tensors 0.20, transformers and torch. Every case is a layer `fc` of one weight, in a format, type of
integers or floats, and strategy of its own: CASE.fc.weight_packed and so on, CASE.decompressed, and in cases.json what
config.json would say. Scales are those of llm-compressor's `memoryless_minmax` observer.

fp8-block and w8a16 are folders of a small Llama with random weights, whose sizes the presets FP8_BLOCK and W8A16 fit, with
what PyTorch computes with the weights that the library makes of them: expected.json, and logits.safetensors.
"""

import json
import os

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

folder = os.path.join(os.path.dirname(__file__), "../test/golden/compressed")


def int_args(bits, **more):
    return {"num_bits": bits, "type": "int", "strategy": "group", "group_size": 32, **more}


float8 = {"num_bits": 8, "type": "float"}
mx = {"type": "float", "strategy": "group", "group_size": 32, "scale_dtype": "torch.uint8"}
nvfp4 = {
    "num_bits": 4,
    "type": "float",
    "strategy": "tensor_group",
    "group_size": 16,
    "scale_dtype": "torch.float8_e4m3fn",
}
tensor, channel = {"strategy": "tensor"}, {"strategy": "channel"}
block = {"strategy": "block", "block_structure": [16, 48]}
whole = {"group_size": None}
asymmetric = {"symmetric": False}

cases = {
    **{f"w{bits}": ("pack-quantized", int_args(bits)) for bits in range(2, 9)},
    **{f"w{bits}-asym": ("pack-quantized", int_args(bits, **asymmetric)) for bits in range(2, 9)},
    "w4-channel": ("pack-quantized", int_args(4, **whole, **channel)),
    "w3-channel-asym": ("pack-quantized", int_args(3, **whole, **channel, **asymmetric)),
    "w4-tensor": ("pack-quantized", int_args(4, **whole, **tensor)),
    "w4-tensor-asym": ("pack-quantized", int_args(4, **whole, **tensor, **asymmetric)),
    "int8-channel": ("int-quantized", int_args(8, **whole, **channel)),
    "int8-tensor": ("int-quantized", int_args(8, **whole, **tensor)),
    "int8-group": ("int-quantized", int_args(8)),
    "int8-channel-asym": ("int-quantized", int_args(8, **whole, **channel, **asymmetric)),
    "int4-naive": ("naive-quantized", int_args(4)),
    "fp8-tensor": ("float-quantized", {**float8, **tensor}),
    "fp8-channel": ("float-quantized", {**float8, **channel}),
    "fp8-group": ("float-quantized", {**float8, "strategy": "group", "group_size": 32}),
    "fp8-block": ("float-quantized", {**float8, **block}),
    "fp8-naive": ("naive-quantized", {**float8, **channel}),
    "nvfp4": ("nvfp4-pack-quantized", nvfp4),
    "mxfp4": ("mxfp4-pack-quantized", {"num_bits": 4, **mx}),
    "mxfp8": ("mxfp8-quantized", {"num_bits": 8, **mx}),
}
bfloat16 = ["w4", "w4-asym", "w8-asym", "int8-channel", "fp8-channel", "fp8-block", "nvfp4", "mxfp4"]


def grouped(weight, args):
    """The weight with all that shares a scale in its last dimension."""
    rows, columns = weight.shape
    if args.strategy == "tensor":
        return weight.reshape(1, -1)
    if args.strategy == "channel":
        return weight.reshape(rows, 1, columns)
    if args.strategy == "block":
        height, width = args.block_structure
        padded = torch.nn.functional.pad(weight, (0, -columns % width, 0, -rows % height))
        tiles = padded.reshape(padded.shape[0] // height, height, padded.shape[1] // width, width)
        return tiles.transpose(1, 2).flatten(2)
    return weight.reshape(rows, columns // args.group_size, args.group_size)


def compressed(weight, format, args):
    state = {"weight": weight}
    groups = grouped(weight, args)
    least, most = groups.amin(-1), groups.amax(-1)
    if args.strategy == "tensor_group":
        state["weight_global_scale"] = generate_gparam(weight.amin(), weight.amax())
    scale, zero = calculate_qparams(least, most, args, state.get("weight_global_scale"))
    state["weight_scale"] = scale
    if not args.symmetric:
        state["weight_zero_point"] = zero
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format=format)
    compressor = BaseCompressor.get_value_from_registry(format)
    parts = compressor.compress(state, scheme)
    return parts, compressor.decompress(parts, scheme)["weight"]


def main():
    torch.manual_seed(11)
    rows, columns = 20, 128
    weight = torch.randn(rows, columns) * torch.rand(rows, 1) + 0.5 * torch.rand(rows, 1)
    # A group of zeros, one without negative numbers, one constant.
    weight[0, :32] = 0
    weight[1, :32].abs_()
    weight[2, :32] = 0.25
    tensors, said = {"weight": weight}, {}
    for name, (format, settings) in cases.items():
        for dtype in [torch.float32, torch.bfloat16]:
            if dtype == torch.bfloat16 and name not in bfloat16:
                continue
            case = name if dtype == torch.float32 else f"{name}-bf16"
            args = QuantizationArgs(**settings)
            parts, floats = compressed(weight.to(dtype), format, args)
            for part, value in parts.items():
                tensors[f"{case}.fc.{part}"] = value.contiguous()
            tensors[f"{case}.decompressed"] = floats.contiguous()
            said[case] = {"format": format, "weights": json.loads(args.model_dump_json())}
    # As versions of a few months of 2026 packed them: words of whole codes.
    for name in ["w3", "w5-asym"]:
        case, bits = f"{name}-whole", int(name[1])
        for part in ["weight_scale", "weight_shape"]:
            tensors[f"{case}.fc.{part}"] = tensors[f"{name}.fc.{part}"].clone()
        said[case] = said[name]
        tensors[f"{case}.decompressed"] = tensors[f"{name}.decompressed"].clone()
        tensors[f"{case}.fc.weight_packed"] = whole_words(codes_of(tensors, name, bits), bits)
        zeros = tensors.get(f"{name}.fc.weight_zero_point")
        if zeros is not None:
            shape = (rows, tensors[f"{name}.fc.weight_scale"].shape[1])
            plain = unpack_from_int32(zeros, bits, shape, packed_dim=0)
            packed = whole_words((plain.int() + 2 ** (bits - 1)).T.contiguous(), bits)
            tensors[f"{case}.fc.weight_zero_point"] = packed.T.contiguous()
    ordered(tensors, said, weight)
    os.makedirs(folder, exist_ok=True)
    save_file(tensors, f"{folder}/layers.safetensors")
    with open(f"{folder}/cases.json", "w") as file:
        json.dump(said, file, indent=1)
        file.write("\n")


def codes_of(tensors, name, bits):
    shape = tensors[f"{name}.fc.weight_shape"].tolist()
    return unpack_from_int32(tensors[f"{name}.fc.weight_packed"], bits, shape).int() + 2 ** (bits - 1)


def whole_words(codes, bits):
    """Codes of a row in words of as many as fit, the first lowest."""
    count = 32 // bits
    rows, columns = codes.shape
    padded = torch.nn.functional.pad(codes, (0, -columns % count)).reshape(rows, -1, count)
    shifts = torch.arange(count, dtype=torch.int32) * bits
    return (padded << shifts).sum(-1).to(torch.int32)


def ordered(tensors, said, weight):
    """Groups of columns that lie apart: what older versions stored of GPTQ's act-order."""
    args = QuantizationArgs(**int_args(4, **asymmetric))
    order = torch.randperm(weight.shape[1])
    groups = torch.empty(weight.shape[1], dtype=torch.int32)
    groups[order] = torch.arange(weight.shape[1], dtype=torch.int32) // 32
    parts, floats = compressed(weight[:, order], "pack-quantized", args)
    back = torch.argsort(order)
    codes = unpack_from_int32(parts["weight_packed"], 4, weight.shape)
    parts["weight_packed"] = pack_to_int32(codes[:, back].contiguous(), 4)
    parts["weight_g_idx"] = groups
    for part, value in parts.items():
        tensors[f"w4-ordered.fc.{part}"] = value.contiguous()
    tensors["w4-ordered.decompressed"] = floats[:, back].contiguous()
    settings = json.loads(args.model_dump_json())
    said["w4-ordered"] = {"format": "pack-quantized", "weights": {**settings, "actorder": "group"}}


def model_folder(name, preset, format):
    """A Llama whose linear layers but the head are quantized as a preset says."""
    torch.manual_seed(3)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "vocab_size": 64, "max_position_embeddings": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "num_hidden_layers": 1}
    config = LlamaConfig(**sizes, **heads, initializer_range=0.2, tie_word_embeddings=True, dtype="float32")
    model = LlamaForCausalLM(config).eval()
    scheme = preset_name_to_scheme(preset, ["Linear"])
    scheme.format = format
    state, weights = dict(model.state_dict()), {}
    del state["lm_head.weight"]
    for path, layer in model.named_modules():
        if not isinstance(layer, torch.nn.Linear) or path == "lm_head":
            continue
        parts, floats = compressed(state.pop(f"{path}.weight"), format, scheme.weights)
        state.update({f"{path}.{part}": value for part, value in parts.items()})
        weights[f"{path}.weight"] = floats
    config.quantization_config = QuantizationConfig(
        config_groups={"group_0": scheme}, format=format, ignore=["lm_head"], quantization_status="compressed"
    ).model_dump(mode="json")
    place = os.path.join(folder, name)
    os.makedirs(place, exist_ok=True)
    config.save_pretrained(place)
    save_file({key: value.contiguous() for key, value in state.items()}, f"{place}/model.safetensors", {"format": "pt"})
    model.load_state_dict(weights, strict=False)
    ids = [1, 5, 9, 33, 60, 2, 17, 40]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    sums = {key: [w.double().sum().item(), w.double().abs().sum().item()] for key, w in weights.items()}
    save_file({"logits": logits.contiguous()}, f"{place}/logits.safetensors")
    with open(f"{place}/expected.json", "w") as file:
        json.dump({"ids": ids, "sums": sums}, file, indent=1)
        file.write("\n")


main()
model_folder("fp8-block", "FP8_BLOCK", "float-quantized")
model_folder("w8a16", "W8A16", "pack-quantized")
