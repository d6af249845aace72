"""Writes test/golden/models: a small model of each family and variant with random weights, and what transformers computes with them.

    python scripts/make-model-fixtures.py [NAME ...]      all, or those named

<name>/config.json, model.safetensors   bfloat16 numbers, seeded
<name>/expected.json                    ids: a text; prefill: how many of them are read at once, the others one by one over a cache;
                                        greedy: tokens after the first six of the text;
                                        batch: prompts of unequal length, steps: the tokens that each goes on with
<name>/model.gguf                       where llama.cpp has the family, with the names, rows and blocks that its converter gives them
<name>/expected.safetensors             logits [rows, V] as PyTorch computes them in float32, `<variant>.python`, and as it does in float64, which is
                                        `<variant>.high` + `<variant>.low`

Variants: float, every token of the text; int8, int4, the last tokens of it, computed with the weights that optimum-quanto's stand for, the head's as
they were; gguf, the last tokens of it, computed with the weights that the GGUF file holds; batch, the last token of each prompt and each further token,
of one sequence after the other, computed in one batch padded on the left.
"""

import inspect
import json
import os
import shutil
import sys

import gguf
import numpy as np
import torch
from optimum.quanto import freeze, qint4, qint8, quantize
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from model_configs import V, described, ggufs, models

folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "golden", "models")

text = torch.randint(3, V, [56], generator=torch.Generator().manual_seed(0)).tolist()
prefill = 24
batch = [text[3:12], text[20:25]]
steps = [text[30:34], text[40:44]]


class InFloat64(TorchFunctionMode):
    """Models compute softmax and norms in float32 whatever their dtype is; here they stay in float64, tables of angles aside."""

    active = True

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if self.active and function in (torch.nn.functional.softmax, torch.softmax, torch.Tensor.softmax) and args[0].dtype == torch.float64:
            kwargs.pop("dtype", None)
        if self.active and function in (torch.Tensor.to, torch.Tensor.float, torch.Tensor.type) and args[0].dtype == torch.float64:
            wanted = [*args[1:], kwargs.get("dtype")]
            if function is torch.Tensor.float or torch.float32 in wanted:
                return args[0]
        return function(*args, **kwargs)


def with_weights(config, weights):
    # The products of other ways to compute experts are none of float64.
    config._experts_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(name == "lm_head.weight" for name in missing), (missing, unexpected)
    return model.eval()


def in_float64(model, compute):
    mode = InFloat64()

    def off(*_):
        mode.active = False

    def on(*_):
        mode.active = True

    for module in model.modules():
        if "Rotary" in type(module).__name__:
            module.register_forward_pre_hook(off)
            module.register_forward_hook(on)
    with mode, torch.no_grad():
        return compute(model.double())


def whole(model, ids=text):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def cached(model, ids=text):
    """The first tokens at once, the others one by one."""
    with torch.no_grad():
        result = model(torch.tensor([ids[:prefill]]), use_cache=True)
        rows = [result.logits[0]]
        for id in ids[prefill:]:
            result = model(torch.tensor([[id]]), past_key_values=result.past_key_values, use_cache=True)
            rows.append(result.logits[0])
    return torch.cat(rows)


def padded(model):
    """Logits of the last token of each prompt and of each further one, in one batch that is padded on the left."""
    length = max(map(len, batch))
    ids = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in batch])
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in batch])
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    rows, past = [], None
    with torch.no_grad():
        for step in range(len(steps[0]) + 1):
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1]:]
            place = dict(position_ids=positions) if takes_positions else {}
            result = model(ids, attention_mask=mask, past_key_values=past, use_cache=True, **place)
            past = result.past_key_values
            rows.append(result.logits[:, -1])
            if step < len(steps[0]):
                ids = torch.tensor([[one[step]] for one in steps])
                mask = torch.cat([mask, torch.ones(len(batch), 1, dtype=mask.dtype)], dim=1)
    return torch.stack(rows, dim=1).flatten(0, 1)


def float_weights(model):
    """A model's weights, those that quanto quantized as the floats that they stand for."""
    weights = {}
    for name, module in model.named_modules():
        for key, value in module.named_parameters(recurse=False):
            weights[f"{name}.{key}"] = value.dequantize() if hasattr(value, "qtype") else value.detach()
    return weights


def quantized_experts(stack, qtype, turned):
    """The floats that quanto's weights stand for, of the matrix of each expert: its layers are in no `Linear`, which is all that quanto sees."""
    floats = []
    for matrix in stack:
        rows = matrix.T if turned else matrix
        layer = torch.nn.Linear(rows.shape[1], rows.shape[0], bias=False)
        layer.weight.data = rows.contiguous()
        holder = torch.nn.Sequential(layer)
        quantize(holder, weights=qtype)
        freeze(holder)
        rows = holder[0].weight.dequantize()
        floats.append(rows.T if turned else rows)
    return torch.stack(floats).contiguous()


def expect(tensors, variant, python, truth):
    high = truth.float()
    tensors[f"{variant}.python"] = python.float().contiguous()
    tensors[f"{variant}.high"] = high.contiguous()
    tensors[f"{variant}.low"] = (truth - high.double()).float().contiguous()


def by_parts(value, heads, kv):
    """Rows of queries, key and value of one key-value head after the other, as all queries, all keys, all values."""
    groups = value.reshape(kv, heads // kv + 2, -1, *value.shape[1:])
    return np.concatenate([part.reshape(-1, *value.shape[1:]) for part in (groups[:, :-2], groups[:, -2:-1], groups[:, -1:])])


def in_pairs(value, heads):
    """llama.cpp's order of the rows of a head, where it turns neighbours."""
    return value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def as_stored(architecture, key, value, config):
    """What a GGUF file holds in the place of a weight, or of blocks of one."""
    if "norm" in key and architecture.startswith("gemma"):
        return value + 1
    heads = {"attn_q": config.num_attention_heads, "attn_k": getattr(config, "num_key_value_heads", 0)}.get(key.split(".")[-1])
    return in_pairs(value, heads) if heads and architecture in ["llama", "smollm3", "granite"] else value


def put_experts(writer, key, module, weights, held):
    """One tensor of the experts of a layer, whose gates and values stand one above the other in transformers' tensors."""
    before, name = module.split(".E.")
    path = f"{before}.{'down_proj' if name == 'down_proj' else 'gate_up_proj'}"
    value = weights[path].float()
    size = value.shape[1] // 2
    rows = slice(None) if name == "down_proj" else slice(0, size) if name == "gate_proj" else slice(size, None)
    kind = gguf.GGMLQuantizationType.Q8_0
    blocks = gguf.quants.quantize(np.ascontiguousarray(value[:, rows].numpy()), kind)
    writer.add_tensor(key, blocks, raw_dtype=kind)
    held.setdefault(path, value.clone())[:, rows] = torch.from_numpy(gguf.quants.dequantize(blocks, kind))


def write_gguf(name, config, weights):
    """Writes the file, Q8_0 blocks where rows have 32 columns, and returns the weights that it holds."""
    architecture, keys, names = ggufs[name]
    keys = keys(config)
    writer = gguf.GGUFWriter(os.path.join(folder, name, "model.gguf"), architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    for key, value in keys.items():
        getattr(writer, f"add_{key}")(value)
    modules = {}
    for key, module in names.items():
        for layer in range(config.num_hidden_layers) if ".N." in key else [None]:
            modules[key.replace(".N.", f".{layer}.")] = module.replace(".N.", f".{layer}.")
    held = {}
    for key, module in modules.items():
        for part in ["weight", "bias"]:
            path = f"{module}.{part}"
            if module.endswith(".norms.E") and part == "weight":
                norms = [path for path in weights if path.startswith(module[:-1])]
                writer.add_tensor(f"{key}.{part}", np.stack([weights[path].float().numpy() for path in norms]))
                held |= {path: weights[path].float() for path in norms}
                continue
            if ".E." in module and part == "weight":
                put_experts(writer, f"{key}.{part}", module, weights, held)
            if path not in weights:
                continue
            value = weights[path].float().numpy()
            if "ffn_gate_inp" in key:
                writer.add_tensor(f"{key}.{part}", value.squeeze())
                held[path] = weights[path].float()
                continue
            if value.ndim == 2 and "norm" not in key and value.shape[1] % 32 == 0 and not key.startswith("token_embd"):
                kind = gguf.GGMLQuantizationType.Q8_0
                stored = gguf.quants.quantize(value, kind)
                value = gguf.quants.dequantize(stored, kind)
            else:
                kind = None
                stored = value = value.astype(np.float16) if value.ndim == 2 and "norm" not in key else value
            stored = as_stored(architecture, key, stored, config)
            if "attn_qkv" in key and not name.startswith("phi3"):
                stored = by_parts(stored, config.num_attention_heads, keys.get("head_count_kv", config.num_attention_heads))
            writer.add_tensor(f"{key}.{part}", np.ascontiguousarray(stored), raw_dtype=kind)
            held[path] = torch.from_numpy(value.astype(np.float32))
    for length in ["short", "long"] if name == "phi3-long" else []:
        writer.add_tensor(f"rope_factors_{length}.weight", np.array(config.rope_parameters[f"{length}_factor"], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def greedy_of(model):
    """Twenty greedy tokens, and by how much the nearest of them was above the next."""
    with torch.no_grad():
        result = model.generate(torch.tensor([text[:6]]), max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0,
                                output_logits=True, return_dict_in_generate=True)
    best = torch.stack(result.logits)[:, 0].topk(2).values
    return result.sequences[0, 6:].tolist(), (best[:, 0] - best[:, 1]).min().item()


def random_model(config, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 or "norm" in name or name.endswith("bias"):
            parameter.data += 0.2 * torch.randn_like(parameter)
        parameter.data = parameter.data.to(torch.bfloat16).float()
    return model


def blocks_of_experts(model):
    """Gives the experts of a model the values of random 4-bit floats; returns the bytes of these, as its checkpoints hold them."""
    blocks = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 3 and ".experts." in name:
            experts, columns, rows = parameter.shape
            blocks[f"{name}_blocks"] = torch.randint(0, 256, [experts, rows, columns // 32, 16], dtype=torch.uint8)
            blocks[f"{name}_scales"] = torch.randint(122, 126, [experts, rows, columns // 32], dtype=torch.uint8)
            floats = convert_moe_packed_tensors(blocks[f"{name}_blocks"], blocks[f"{name}_scales"], dtype=torch.float32)
            assert floats.shape == parameter.shape
            parameter.data = floats.contiguous()
    return blocks


def compared(config, weights, blocks):
    """The logits of all variants."""
    tensors = {}
    expect(tensors, "float", cached(with_weights(config, weights)), in_float64(with_weights(config, weights), whole))
    expect(tensors, "batch", padded(with_weights(config, weights)), in_float64(with_weights(config, weights), padded))
    for variant, qtype in {"int8": qint8, "int4": qint4}.items():
        quantized = with_weights(config, weights)
        # What says how much an expert counts stays a float.
        quantize(quantized, weights=qtype, exclude=["lm_head", "*shared_expert_gate"])
        freeze(quantized)
        floats = float_weights(quantized)
        if config.tie_word_embeddings:
            floats.pop("lm_head.weight", None)
        for key, value in floats.items():
            # What is quantized already stays as it is.
            if value.ndim == 3 and ".experts." in key and not blocks:
                floats[key] = quantized_experts(value, qtype, config.model_type == "gpt_oss")
        truth = in_float64(with_weights(config, floats), whole)
        expect(tensors, variant, whole(with_weights(config, floats))[-8:], truth[-8:])
    return tensors


def agrees(tensors):
    """Whether both precisions give a token to the same experts."""
    return all((tensors[key] - tensors[key.replace(".python", ".high")]).abs().max() < 1e-3 for key in tensors if key.endswith(".python"))


def write(name, config):
    place = os.path.join(folder, name)
    shutil.rmtree(place, ignore_errors=True)
    for seed in range(100):
        model = random_model(config, seed)
        blocks = blocks_of_experts(model) if name.endswith("-mxfp4") else {}
        greedy, margin = greedy_of(model)
        # A choice that rounding could turn is none to compare.
        if margin <= 1e-3:
            continue
        weights = {key: value.clone() for key, value in float_weights(model).items()}
        if config.tie_word_embeddings:
            weights.pop("lm_head.weight", None)
        tensors = compared(config, weights, blocks)
        if agrees(tensors):
            break
    model.to(torch.bfloat16).save_pretrained(place)
    if blocks:
        others = {key: value for key, value in model.state_dict().items() if f"{key}_blocks" not in blocks}
        save_file({**others, **blocks}, os.path.join(place, "model.safetensors"), metadata={"format": "pt"})
        with open(os.path.join(place, "config.json")) as file:
            described = json.load(file)
        with open(os.path.join(place, "config.json"), "w") as file:
            json.dump({**described, "quantization_config": {"quant_method": "mxfp4"}}, file, indent=2)
    if name.endswith("-stacks"):
        save_file(model.state_dict(), os.path.join(place, "model.safetensors"), metadata={"format": "pt"})
    if name in ggufs:
        held = write_gguf(name, config, weights)
        assert held.keys() == weights.keys(), held.keys() ^ weights.keys()
        taken = type(config)(**{**config.to_dict(), **described[name]}) if name in described else config
        truth = in_float64(with_weights(taken, held), whole)
        expect(tensors, "gguf", whole(with_weights(taken, held))[-8:], truth[-8:])
    for extra in ["generation_config.json"]:
        if os.path.exists(os.path.join(place, extra)):
            os.remove(os.path.join(place, extra))
    save_file(tensors, os.path.join(place, "expected.safetensors"))
    with open(os.path.join(place, "expected.json"), "w") as file:
        json.dump({"ids": text, "prefill": prefill, "greedy": greedy, "batch": batch, "steps": steps}, file)
    for file in os.listdir(place):
        os.chmod(os.path.join(place, file), 0o644)
    print(name, f"seed {seed}, margin {margin:.3f},", sum(os.path.getsize(os.path.join(place, file)) for file in os.listdir(place)), "bytes")


for name in sys.argv[1:] or models:
    write(name, models[name])
