"""The models of make-model-fixtures.py, and what llama.cpp's converter writes of them."""

import math

from gguf import RopeScalingType
from transformers import (
    BitNetConfig,
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
    GptOssConfig,
    GraniteConfig,
    MixtralConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    SmolLM3Config,
    StableLmConfig,
)

V = 48
special = dict(vocab_size=V, bos_token_id=1, eos_token_id=2, pad_token_id=0)
sizes = dict(special, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64, initializer_range=0.3)
opt = dict(special, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64, init_std=0.3)
falcon = dict(sizes, ffn_hidden_size=64)
models = {
    "opt": OPTConfig(**opt),
    # Norms after each part, embeddings of another size: as OPT-350m.
    "opt-projected": OPTConfig(**opt, do_layer_norm_before=False, word_embed_proj_dim=16),
    # Without biases, weights of norms, and the last norm.
    "opt-plain": OPTConfig(**opt, enable_bias=False, layer_norm_elementwise_affine=False, _remove_final_layer_norm=True),
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
    "qwen3": Qwen3Config(**grouped, head_dim=16, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "gemma": GemmaConfig(**{**grouped, "num_key_value_heads": 1}, head_dim=16),
    # The first layer sees five tokens; bounds that bite.
    "gemma2": Gemma2Config(**grouped, head_dim=16, sliding_window=5, query_pre_attn_scalar=20, attn_logit_softcapping=2.0, final_logit_softcapping=4.0),
    # The second layer sees all tokens, and turns by angles of its own.
    "gemma3": Gemma3TextConfig(**{**grouped, "num_hidden_layers": 3, "intermediate_size": 32}, head_dim=8, sliding_window=5, query_pre_attn_scalar=20,
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
    "cohere-normed": CohereConfig(**grouped, use_qk_norm=True, attention_bias=True),
    # The first layer sees five tokens, the second all, turning nothing.
    "cohere2": Cohere2Config(**grouped, sliding_window=5, layer_types=[sliding, full]),
    "stablelm": StableLmConfig(**sizes, intermediate_size=64, num_key_value_heads=4, use_qkv_bias=True),
    # As StableLM 2 12B.
    "stablelm-parallel": StableLmConfig(**grouped, use_parallel_residual=True, qk_layernorm=True, partial_rotary_factor=0.5),
    "mixtral": MixtralConfig(**{**grouped, "intermediate_size": 32}, num_local_experts=4, num_experts_per_tok=2, sliding_window=5),
    # Saved as transformers holds them: the experts of a layer in one tensor.
    "mixtral-stacks": MixtralConfig(**{**grouped, "intermediate_size": 32}, num_local_experts=3, num_experts_per_tok=1),
    # The first layer sees five tokens.
    "qwen2_moe": Qwen2MoeConfig(**grouped, moe_intermediate_size=32, shared_expert_intermediate_size=48, num_experts=4, num_experts_per_tok=2,
                                use_sliding_window=True, sliding_window=5, layer_types=[sliding, full]),
    # The second of three layers has experts.
    "qwen2_moe-stacks": Qwen2MoeConfig(**{**grouped, "num_hidden_layers": 3}, moe_intermediate_size=32, shared_expert_intermediate_size=40,
                                       num_experts=5, num_experts_per_tok=3, norm_topk_prob=True, mlp_only_layers=[0], decoder_sparse_step=2,
                                       qkv_bias=False),
    "qwen3_moe": Qwen3MoeConfig(**grouped, head_dim=12, moe_intermediate_size=32, num_experts=5, num_experts_per_tok=2, norm_topk_prob=True),
    # As llama.cpp has it: all layers see all tokens.
    "qwen2_moe-full": Qwen2MoeConfig(**grouped, moe_intermediate_size=32, shared_expert_intermediate_size=32, num_experts=3, num_experts_per_tok=2),
    **{name: GptOssConfig(**{**grouped, "intermediate_size": 32}, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=5,
                            rope_parameters={"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "beta_fast": 8.0, "beta_slow": 1.0,
                                             "truncate": False, "original_max_position_embeddings": 16})
       # The experts of the second are 4-bit floats, as its checkpoints have them.
       for name in ["gpt_oss", "gpt_oss-mxfp4"]},
    "bitnet": BitNetConfig(**grouped),
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
layer = "model.layers.N."
attention = {f"blk.N.attn_{key}": f"{layer}self_attn.{name}" for key, name in
             dict(q="q_proj", k="k_proj", v="v_proj", output="o_proj", q_norm="q_norm", k_norm="k_norm").items()}
around = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "blk.N.attn_norm": f"{layer}input_layernorm",
          "blk.N.ffn_norm": f"{layer}post_attention_layernorm", "blk.N.ffn_gate_inp": f"{layer}mlp.gate", **attention}
# Of each expert, those of a layer one tensor.
experts = {f"blk.N.ffn_{key}_exps": f"{layer}mlp.experts.E.{key}_proj" for key in ["gate", "up", "down"]}
shared = {f"blk.N.ffn_{key}_shexp": f"{layer}mlp.shared_expert.{key}_proj" for key in ["gate", "up", "down"]}


def with_experts(config):
    heads = dict(key_length=config.head_dim, value_length=config.head_dim) if getattr(config, "head_dim", None) else {}
    return dict(context_length=64, feed_forward_length=config.intermediate_size, head_count_kv=2, layer_norm_rms_eps=config.rms_norm_eps,
                rope_freq_base=config.rope_parameters["rope_theta"], expert_used_count=config.num_experts_per_tok,
                expert_count=getattr(config, "num_experts", None) or config.num_local_experts, **heads)


def with_sized_experts(config):
    size = getattr(config, "shared_expert_intermediate_size", None)
    return dict(with_experts(config), expert_feed_forward_length=config.moe_intermediate_size,
                **(dict(expert_shared_feed_forward_length=size) if size else {}))


ggufs |= {
    "mixtral-stacks": ("llama", with_experts, {**around, **experts}),
    "qwen2_moe-full": ("qwen2moe", with_sized_experts, {**around, **experts, **shared, "blk.N.ffn_gate_inp_shexp": f"{layer}mlp.shared_expert_gate"}),
    "qwen3_moe": ("qwen3moe", with_sized_experts, {**around, **experts}),
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

# Families that follow Llama: keys and names by what they have.
llama_modules = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "blk.N.attn_norm": "model.layers.N.input_layernorm",
    **{f"blk.N.attn_{name}": f"model.layers.N.self_attn.{name}_proj" for name in "qkv"}, "blk.N.attn_output": "model.layers.N.self_attn.o_proj",
    "blk.N.ffn_norm": "model.layers.N.post_attention_layernorm", **{f"blk.N.ffn_{name}": f"model.layers.N.mlp.{name}_proj" for name in ["gate", "up", "down"]}}
head_norms = {f"blk.N.attn_{name}_norm": f"model.layers.N.self_attn.{name}_norm" for name in "qk"}
norms_after = {"blk.N.post_attention_norm": "model.layers.N.post_attention_layernorm", "blk.N.post_ffw_norm": "model.layers.N.post_feedforward_layernorm"}
gemma2_modules = {**llama_modules, **norms_after, "blk.N.ffn_norm": "model.layers.N.pre_feedforward_layernorm"}
phi3_modules = {**llama_modules, "blk.N.attn_qkv": "model.layers.N.self_attn.qkv_proj", "blk.N.ffn_up": "model.layers.N.mlp.gate_up_proj"}


def llama_keys(c, **more):
    size = getattr(c, "head_dim", None)
    epsilon = dict(layer_norm_rms_eps=c.rms_norm_eps) if hasattr(c, "rms_norm_eps") else dict(layer_norm_eps=c.layer_norm_eps)
    rope = c.rope_parameters.get("full_attention", c.rope_parameters)
    return dict(context_length=c.max_position_embeddings, feed_forward_length=c.intermediate_size, head_count_kv=c.num_key_value_heads,
                rope_freq_base=rope["rope_theta"], **epsilon, **(dict(key_length=size, value_length=size) if size else {}), **more)


def longrope(c):
    original = c.original_max_position_embeddings
    factor = math.sqrt(1 + math.log(c.max_position_embeddings / original) / math.log(original))
    return llama_keys(c, rope_dimension_count=8, sliding_window=0, rope_scaling_orig_ctx_len=original, rope_scaling_attn_factors=factor)


ggufs |= {
    "qwen3": ("qwen3", llama_keys, {**llama_modules, **head_norms}),
    "gemma": ("gemma", llama_keys, llama_modules),
    "gemma2": ("gemma2", lambda c: llama_keys(c, sliding_window=5, attn_logit_softcapping=2.0, final_logit_softcapping=4.0), gemma2_modules),
    "gemma3": ("gemma3", lambda c: llama_keys(c, sliding_window=5, sliding_window_pattern=2, final_logit_softcapping=8.0, rope_freq_base_swa=100.0,
                                              rope_scaling_type=RopeScalingType.LINEAR, rope_scaling_factor=2.0), {**gemma2_modules, **head_norms}),
    "phi3": ("phi3", lambda c: llama_keys(c, sliding_window=5, rope_dimension_count=6), phi3_modules),
    "phi3-long": ("phi3", longrope, phi3_modules),
    "smollm3": ("smollm3", llama_keys, llama_modules),
    "olmo2": ("olmo2", llama_keys, {**{key: module for key, module in llama_modules.items() if "layernorm" not in module}, **head_norms, **norms_after}),
    "granite": ("granite", lambda c: llama_keys(c, embedding_scale=3.0, attention_scale=0.4, residual_scale=0.6, logit_scale=2.5), llama_modules),
    "cohere": ("command-r", lambda c: llama_keys(c, logit_scale=0.5, rope_scaling_type=RopeScalingType.NONE), llama_modules),
    "cohere-normed": ("command-r", lambda c: llama_keys(c, logit_scale=c.logit_scale, rope_scaling_type=RopeScalingType.NONE),
                      {**llama_modules, **head_norms}),
    "cohere2": ("cohere2", lambda c: llama_keys(c, logit_scale=c.logit_scale, sliding_window=5, sliding_window_pattern=2, rope_dimension_count=8,
                                                rope_scaling_type=RopeScalingType.NONE), llama_modules),
    "stablelm": ("stablelm", lambda c: llama_keys(c, rope_dimension_count=2, parallel_residual=False), llama_modules),
    "stablelm-parallel": ("stablelm", lambda c: llama_keys(c, rope_dimension_count=4, parallel_residual=True), {
        **{key: module for key, module in llama_modules.items() if key != "blk.N.ffn_norm"},
        **{f"blk.N.attn_{name}_norm": f"model.layers.N.self_attn.{name}_layernorm.norms.E" for name in "qk"}}),
}
# What llama.cpp takes for granted of a family, where the model here has it otherwise.
described = {
    "qwen3": dict(layer_types=[full, full], use_sliding_window=False, sliding_window=None),
    "gemma2": dict(query_pre_attn_scalar=16),
    "gemma3": dict(query_pre_attn_scalar=8),
    "smollm3": dict(no_rope_layer_interval=4, no_rope_layers=None),
}
