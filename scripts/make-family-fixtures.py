"""Writes test/golden/families: small models of each family with random weights, and what the Python libraries compute with them.

<family>/config.json, model.safetensors   bfloat16 numbers, seeded
<family>-qint4/                           the same as optimum-quanto saved it
<family>.gguf                             the same in GGUF, Q4_0 blocks and F32 norms and biases, as llama.cpp's converter names them
<family>.json                             token ids of a text; greedy tokens after its first
<family>.safetensors                      logits [rows, V] of the last tokens of the text: `<variant>.python` as PyTorch computes them in float32, and as it
                                          does in float64, which is `<variant>.high` + `<variant>.low`

Variants: float, qint2, qint4, qint8, qfloat8 (optimum-quanto's weights), gguf (the weights that the blocks stand for).
"""

import json
import os
import shutil

import gguf
import numpy as np
import torch
from optimum.quanto import QuantizedModelForCausalLM, freeze, qfloat8, qint2, qint4, qint8, quantize
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GPT2Config, MistralConfig, Qwen2Config

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
folder = os.path.join(root, "test", "golden", "families")
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)

sizes = dict(vocab_size=56, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, initializer_range=0.3, bos_token_id=1, eos_token_id=2)
configs = {
    # The first layer sees all tokens, the second five.
    "qwen2": Qwen2Config(**sizes, tie_word_embeddings=True, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "mistral": MistralConfig(**sizes, head_dim=16, sliding_window=5),
    "gpt2": GPT2Config(vocab_size=56, n_embd=32, n_inner=64, n_layer=2, n_head=4, n_positions=32, initializer_range=0.3, bos_token_id=1, eos_token_id=2),
}
variants = {"qint2": qint2, "qint4": qint4, "qint8": qint8, "qfloat8": qfloat8}
ids = torch.tensor([[1, 17, 40, 3, 3, 51, 22, 9, 31, 54, 5, 44, 12, 27]])


def logits(model, double=False):
    with torch.no_grad():
        return model(ids).logits[0] if not double else model.double()(ids).logits[0]


def with_weights(config, weights):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(name == "lm_head.weight" for name in missing), (missing, unexpected)
    return model.eval()


def expect(tensors, variant, python, config, weights):
    """`weights` are the floats that the model computes with."""
    truth = logits(with_weights(config, weights), double=True)
    rows = 4 if variant in variants else 10
    python, truth = python[-rows:], truth[-rows:]
    high = truth.float()
    tensors[f"{variant}.python"] = python.float().contiguous()
    tensors[f"{variant}.high"] = high.contiguous()
    tensors[f"{variant}.low"] = (truth - high.double()).float().contiguous()


def float_weights(model):
    """A model's weights, those that quanto quantized as the floats that they stand for."""
    weights = {}
    for name, module in model.named_modules():
        for key, value in module.named_parameters(recurse=False):
            weights[f"{name}.{key}"] = value.dequantize() if hasattr(value, "qtype") else value.detach()
    return weights


def permute(weight, heads):
    """llama.cpp's order of the rows of a head: LlamaModel.permute of convert_hf_to_gguf.py."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


layer_names = {
    "llama": {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
              "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
              "ffn_down": "mlp.down_proj"},
    "gpt2": {"attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc",
             "ffn_down": "mlp.c_proj"},
}


def write_gguf(family, config, weights):
    """Writes the file, and returns the weights that it holds."""
    architecture = {"mistral": "llama"}.get(family, family)
    writer = gguf.GGUFWriter(os.path.join(folder, f"{family}.gguf"), architecture)
    is_gpt2 = family == "gpt2"
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.n_inner if is_gpt2 else config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    if is_gpt2:
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_vocab_size(config.vocab_size)
    if family == "mistral":
        for add in [writer.add_key_length, writer.add_value_length, writer.add_rope_dimension_count]:
            add(config.head_dim)
        writer.add_sliding_window(config.sliding_window)
    prefix = "transformer." if is_gpt2 else "model."
    names = {"token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f"} if is_gpt2 else {"token_embd": "embed_tokens", "output_norm": "norm"}
    modules = {name: f"{prefix}{module}" for name, module in names.items()}
    for layer in range(config.num_hidden_layers):
        for name, module in layer_names["gpt2" if is_gpt2 else "llama"].items():
            modules[f"blk.{layer}.{name}"] = f"{prefix}{'h' if is_gpt2 else 'layers'}.{layer}.{module}"
    if not config.tie_word_embeddings:
        modules["output"] = "lm_head"
    held = {}
    for name, module in modules.items():
        for part in ["weight", "bias"]:
            key = f"{module}.{part}"
            if key not in weights:
                continue
            value = weights[key].float().numpy()
            turned = is_gpt2 and part == "weight" and value.ndim == 2 and "blk" in name
            value = np.ascontiguousarray(value.T if turned else value)
            paired = {"attn_q": config.num_attention_heads, "attn_k": getattr(config, "num_key_value_heads", 0)} if family == "mistral" else {}
            heads = paired.get(name.split(".")[-1])
            stored = permute(value, heads) if heads else value
            # GPT-2's first layer stays in floats.
            if value.ndim == 2 and name != "position_embd" and not (is_gpt2 and ".0." in name):
                blocks = gguf.quants.quantize(np.ascontiguousarray(stored), gguf.GGMLQuantizationType.Q4_0)
                writer.add_tensor(f"{name}.{part}", blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
                # Rows are blocks of their own, so that their order changes nothing.
                value = gguf.quants.dequantize(gguf.quants.quantize(value, gguf.GGMLQuantizationType.Q4_0), gguf.GGMLQuantizationType.Q4_0)
            elif value.ndim == 2:
                value = value.astype(np.float16)
                writer.add_tensor(f"{name}.{part}", value)
            else:
                writer.add_tensor(f"{name}.{part}", np.ascontiguousarray(stored))
            held[key] = torch.from_numpy(np.ascontiguousarray((value.T if turned else value).astype(np.float32)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


for number, (family, config) in enumerate(configs.items()):
    torch.manual_seed(number)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or "ln_" in name or name.endswith("bias"):
            parameter.data += 0.2 * torch.randn_like(parameter)
        parameter.data = parameter.data.to(torch.bfloat16).float()
    weights = {name: value.clone() for name, value in float_weights(model).items()}
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    tensors = {}
    if family != "gpt2":
        expect(tensors, "float", logits(model), config, weights)
        model.to(torch.bfloat16).save_pretrained(os.path.join(folder, family))
        for variant, qtype in variants.items():
            quantized = with_weights(config, weights)
            quantize(quantized, weights=qtype, exclude=None if family == "mistral" else "lm_head")
            freeze(quantized)
            expect(tensors, variant, logits(quantized), config, float_weights(quantized))
            if variant == "qint4":
                QuantizedModelForCausalLM(quantized).save_pretrained(os.path.join(folder, f"{family}-qint4"))
    with torch.no_grad():
        greedy = with_weights(config, weights).generate(ids[:, :6], max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0)
    held = write_gguf(family, config, weights)
    described = config
    if family == "qwen2":
        # A GGUF file of Qwen2 says nothing of windows.
        described = Qwen2Config(**{**config.to_dict(), "use_sliding_window": False, "layer_types": None})
        described._attn_implementation = "eager"
    expect(tensors, "gguf", logits(with_weights(described, held)), described, held)
    save_file(tensors, os.path.join(folder, f"{family}.safetensors"))
    with open(os.path.join(folder, f"{family}.json"), "w") as file:
        json.dump({"ids": ids[0].tolist(), "greedy": greedy[0, 6:].tolist()}, file)
for path, _, names in os.walk(folder):
    for name in names:
        if name in ["generation_config.json", "README.md"]:
            os.remove(os.path.join(path, name))
