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
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Cohere2Config,
    CohereConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPTJConfig,
    GPTNeoConfig,
    GPTNeoXConfig,
    GraniteConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    Qwen3Config,
    SmolLM3Config,
    StableLmConfig,
)

folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "golden", "models")

V = 48
special = dict(vocab_size=V, bos_token_id=1, eos_token_id=2, pad_token_id=0)
sizes = dict(special, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64, initializer_range=0.3)
opt = dict(special, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64, init_std=0.3)
falcon = dict(sizes, ffn_hidden_size=64)
models = {
    "opt": OPTConfig(**opt),
    # Norms after each part, embeddings of another size: as OPT-350m.
    "opt-projected": OPTConfig(**opt, do_layer_norm_before=False, word_embed_proj_dim=16),
    "bloom": BloomConfig(**special, hidden_size=24, n_layer=2, n_head=6, initializer_range=0.3),
    # One key and value for all heads; attention and MLP of one norm.
    "falcon": FalconConfig(**falcon),
    # Grouped heads; a norm for attention and one for the MLP: as Falcon-40B.
    "falcon-grouped": FalconConfig(**falcon, new_decoder_architecture=True, num_kv_heads=2),
    # As Falcon 2 11B.
    "falcon-one-norm": FalconConfig(**falcon, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1, tie_word_embeddings=False),
    # Slopes of sixteen heads are no numbers of bfloat16.
    "falcon-rw": FalconConfig(**dict(falcon, num_attention_heads=16), alibi=True, multi_query=False, parallel_attn=False, bias=True),
    # The second layer sees five tokens. Scores are not scaled, so that smaller weights make scores of the size that others have.
    "gpt_neo": GPTNeoConfig(**special, hidden_size=32, intermediate_size=64, num_layers=2, num_heads=4, max_position_embeddings=64, window_size=5,
                            attention_types=[[["global", "local"], 1]], initializer_range=0.2),
    "gpt_neox": GPTNeoXConfig(**sizes, intermediate_size=64, rotary_pct=0.25),
    "gpt_neox-sequential": GPTNeoXConfig(**sizes, intermediate_size=64, rotary_pct=1.0, use_parallel_residual=False, attention_bias=False,
                                         hidden_act="gelu_fast"),
    "gptj": GPTJConfig(**special, n_embd=32, n_inner=64, n_layer=2, n_head=4, n_positions=64, rotary_dim=4, initializer_range=0.3),
    "phi": PhiConfig(**sizes, intermediate_size=64),
    "phi-normed": PhiConfig(**sizes, intermediate_size=64, num_key_value_heads=2, partial_rotary_factor=0.75, qk_layernorm=True),
}

grouped = dict(sizes, intermediate_size=64, num_key_value_heads=2)
sliding, full = "sliding_attention", "full_attention"
models |= {
    # Heads of another size than the hidden one gives; the second layer sees five tokens.
    "qwen3": Qwen3Config(**grouped, head_dim=16, use_sliding_window=True, sliding_window=5, max_window_layers=1, attention_bias=True),
    "gemma": GemmaConfig(**{**grouped, "num_key_value_heads": 1}, head_dim=16),
    # The first layer sees five tokens; bounds that bite.
    "gemma2": Gemma2Config(**grouped, head_dim=16, sliding_window=5, query_pre_attn_scalar=20, attn_logit_softcapping=2.0, final_logit_softcapping=4.0),
    # The second layer sees all tokens, and turns by angles of its own.
    "gemma3": Gemma3TextConfig(**{**grouped, "num_hidden_layers": 3}, head_dim=16, sliding_window=5, query_pre_attn_scalar=20,
                               layer_types=[sliding, full, sliding], final_logit_softcapping=8.0,
                               rope_parameters={full: {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
                                                sliding: {"rope_type": "default", "rope_theta": 100.0}}),
    "phi3": Phi3Config(**grouped, sliding_window=5, partial_rotary_factor=0.75),
    # Angles of texts that are longer than the first training's.
    "phi3-long": Phi3Config(**grouped, original_max_position_embeddings=5,
                            rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 1.0,
                                             "short_factor": [1.0, 1.1, 1.3, 1.5], "long_factor": [1.0, 1.4, 2.0, 4.0]}),
    # The second layer turns nothing.
    "smollm3": SmolLM3Config(**grouped, no_rope_layer_interval=2),
    "smollm3-windows": SmolLM3Config(**grouped, no_rope_layers=[0, 1], use_sliding_window=True, sliding_window=5, attention_bias=True, mlp_bias=True,
                                     tie_word_embeddings=False),
    "olmo2": Olmo2Config(**grouped),
    "granite": GraniteConfig(**grouped, embedding_multiplier=3.0, attention_multiplier=0.4, residual_multiplier=0.6, logits_scaling=2.5,
                             attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "cohere": CohereConfig(**grouped, logit_scale=0.5),
    # Queries and keys normalized, as in Command R+.
    "cohere-normed": CohereConfig(**grouped, use_qk_norm=True, attention_bias=True, tie_word_embeddings=False),
    # The first layer sees five tokens, the second all, turning nothing.
    "cohere2": Cohere2Config(**grouped, sliding_window=5, layer_types=[sliding, full]),
    "stablelm": StableLmConfig(**sizes, intermediate_size=64, num_key_value_heads=4, use_qkv_bias=True),
    # As StableLM 2 12B.
    "stablelm-parallel": StableLmConfig(**grouped, use_parallel_residual=True, qk_layernorm=True, partial_rotary_factor=0.5),
}
# What llama.cpp's converter writes of each: keys, and names of modules, N for the number of a layer.
ggufs = {
    "bloom": ("bloom", lambda c: dict(context_length=64, feed_forward_length=4 * c.hidden_size, head_count_kv=c.n_head, layer_norm_eps=c.layer_norm_epsilon), {
        "token_embd": "transformer.word_embeddings", "token_embd_norm": "transformer.word_embeddings_layernorm", "output_norm": "transformer.ln_f",
        "blk.N.attn_norm": "transformer.h.N.input_layernorm", "blk.N.attn_qkv": "transformer.h.N.self_attention.query_key_value",
        "blk.N.attn_output": "transformer.h.N.self_attention.dense", "blk.N.ffn_norm": "transformer.h.N.post_attention_layernorm",
        "blk.N.ffn_up": "transformer.h.N.mlp.dense_h_to_4h", "blk.N.ffn_down": "transformer.h.N.mlp.dense_4h_to_h"}),
    "gpt_neox": ("gptneox", lambda c: dict(context_length=64, feed_forward_length=64, rope_dimension_count=2, parallel_residual=True, layer_norm_eps=1e-5), {
        "token_embd": "gpt_neox.embed_in", "output_norm": "gpt_neox.final_layer_norm", "output": "lm_head",
        "blk.N.attn_norm": "gpt_neox.layers.N.input_layernorm", "blk.N.attn_qkv": "gpt_neox.layers.N.attention.query_key_value",
        "blk.N.attn_output": "gpt_neox.layers.N.attention.dense", "blk.N.ffn_norm": "gpt_neox.layers.N.post_attention_layernorm",
        "blk.N.ffn_up": "gpt_neox.layers.N.mlp.dense_h_to_4h", "blk.N.ffn_down": "gpt_neox.layers.N.mlp.dense_4h_to_h"}),
    "phi": ("phi2", lambda c: dict(context_length=64, feed_forward_length=64, head_count_kv=4, rope_dimension_count=4, layer_norm_eps=1e-5), {
        "token_embd": "model.embed_tokens", "output_norm": "model.final_layernorm", "output": "lm_head", "blk.N.attn_norm": "model.layers.N.input_layernorm",
        "blk.N.attn_q": "model.layers.N.self_attn.q_proj", "blk.N.attn_k": "model.layers.N.self_attn.k_proj", "blk.N.attn_v": "model.layers.N.self_attn.v_proj",
        "blk.N.attn_output": "model.layers.N.self_attn.dense", "blk.N.ffn_up": "model.layers.N.mlp.fc1", "blk.N.ffn_down": "model.layers.N.mlp.fc2"}),
}
falcon_modules = {
    "token_embd": "transformer.word_embeddings", "output_norm": "transformer.ln_f", "output": "lm_head",
    "blk.N.attn_qkv": "transformer.h.N.self_attention.query_key_value", "blk.N.attn_output": "transformer.h.N.self_attention.dense",
    "blk.N.ffn_up": "transformer.h.N.mlp.dense_h_to_4h", "blk.N.ffn_down": "transformer.h.N.mlp.dense_4h_to_h"}
for name, kv, norms in [
    ("falcon", 1, {"blk.N.attn_norm": "input_layernorm"}),
    ("falcon-grouped", 2, {"blk.N.attn_norm": "ln_mlp", "blk.N.attn_norm_2": "ln_attn"}),
    ("falcon-one-norm", 2, {"blk.N.attn_norm": "input_layernorm"}),
]:
    keys = dict(context_length=64, feed_forward_length=64, head_count_kv=kv, layer_norm_eps=1e-5)
    ggufs[name] = ("falcon", lambda c, keys=keys: keys, {**falcon_modules, **{key: f"transformer.h.N.{norm}" for key, norm in norms.items()}})

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


def expect(tensors, variant, python, truth):
    high = truth.float()
    tensors[f"{variant}.python"] = python.float().contiguous()
    tensors[f"{variant}.high"] = high.contiguous()
    tensors[f"{variant}.low"] = (truth - high.double()).float().contiguous()


def by_parts(value, heads, kv):
    """Rows of queries, key and value of one key-value head after the other, as all queries, all keys, all values."""
    groups = value.reshape(kv, heads // kv + 2, -1, *value.shape[1:])
    return np.concatenate([part.reshape(-1, *value.shape[1:]) for part in (groups[:, :-2], groups[:, -2:-1], groups[:, -1:])])


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
            if path not in weights:
                continue
            value = weights[path].float().numpy()
            if value.ndim == 2 and value.shape[1] % 32 == 0 and not key.startswith("token_embd"):
                kind = gguf.GGMLQuantizationType.Q8_0
                stored = gguf.quants.quantize(value, kind)
                value = gguf.quants.dequantize(stored, kind)
            else:
                kind = None
                stored = value = value.astype(np.float16) if value.ndim == 2 else value
            if "attn_qkv" in key:
                stored = by_parts(stored, config.num_attention_heads, keys.get("head_count_kv", config.num_attention_heads))
            writer.add_tensor(f"{key}.{part}", np.ascontiguousarray(stored), raw_dtype=kind)
            held[path] = torch.from_numpy(value.astype(np.float32))
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
        if parameter.ndim == 1 or "norm" in name:
            parameter.data += 0.2 * torch.randn_like(parameter)
        parameter.data = parameter.data.to(torch.bfloat16).float()
    return model


def write(name, config):
    place = os.path.join(folder, name)
    shutil.rmtree(place, ignore_errors=True)
    for seed in range(100):
        model = random_model(config, seed)
        greedy, margin = greedy_of(model)
        # A choice that rounding could turn is none to compare.
        if margin > 1e-3:
            break
    weights = {key: value.clone() for key, value in float_weights(model).items()}
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    tensors = {}
    expect(tensors, "float", cached(with_weights(config, weights)), in_float64(with_weights(config, weights), whole))
    expect(tensors, "batch", padded(with_weights(config, weights)), in_float64(with_weights(config, weights), padded))
    for variant, qtype in {"int8": qint8, "int4": qint4}.items():
        quantized = with_weights(config, weights)
        quantize(quantized, weights=qtype, exclude="lm_head")
        freeze(quantized)
        floats = float_weights(quantized)
        if config.tie_word_embeddings:
            floats.pop("lm_head.weight", None)
        truth = in_float64(with_weights(config, floats), whole)
        expect(tensors, variant, whole(with_weights(config, floats))[-8:], truth[-8:])
    model.to(torch.bfloat16).save_pretrained(place)
    if name in ggufs:
        held = write_gguf(name, config, weights)
        assert held.keys() == weights.keys(), held.keys() ^ weights.keys()
        truth = in_float64(with_weights(config, held), whole)
        expect(tensors, "gguf", whole(with_weights(config, held))[-8:], truth[-8:])
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
