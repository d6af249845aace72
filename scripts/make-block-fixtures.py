"""Writes test/golden/blocks.safetensors: attention layers of transformers with options that Llama has none of, seeded.

<case>.<parameter>     its parameters, bfloat16 numbers as float32
<case>.x               [1, T, hidden]
<case>.y               [1, T, hidden], computed in float64

qwen3   grouped heads, each head's queries and keys normalized
phi     the first half of each head is turned; biases; queries and keys normalized by layer norms
phi3    one projection for queries, keys and values of grouped heads; three quarters turned; a window of 3
gemma2  scores bounded by 0.5, and scaled by 1/√20
glm     half of each head is turned, in pairs of neighbours
"""

import os

import torch
from safetensors.torch import save_file
from transformers import Gemma2Config, GlmConfig, Phi3Config, PhiConfig, Qwen3Config
from transformers.models.gemma2.modeling_gemma2 import Gemma2Attention, Gemma2RotaryEmbedding
from transformers.models.glm.modeling_glm import GlmAttention, GlmRotaryEmbedding
from transformers.models.phi.modeling_phi import PhiAttention, PhiRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3Attention, Phi3RotaryEmbedding
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention, Qwen3RotaryEmbedding

T = 7
sizes = dict(hidden_size=16, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=1, max_position_embeddings=64)
phi3 = dict(sizes, pad_token_id=0, vocab_size=32)
cases = {
    "qwen3": (Qwen3Config(**sizes, head_dim=6), Qwen3Attention, Qwen3RotaryEmbedding, None),
    "phi": (PhiConfig(**dict(sizes, num_attention_heads=2), partial_rotary_factor=0.5, qk_layernorm=True), PhiAttention, PhiRotaryEmbedding, None),
    "phi3": (Phi3Config(**dict(phi3, num_attention_heads=2, num_key_value_heads=1), partial_rotary_factor=0.75), Phi3Attention, Phi3RotaryEmbedding, 3),
    "gemma2": (Gemma2Config(**sizes, head_dim=6, attn_logit_softcapping=0.5, query_pre_attn_scalar=20), Gemma2Attention, Gemma2RotaryEmbedding, None),
    "glm": (GlmConfig(**sizes, head_dim=8, partial_rotary_factor=0.5, attention_bias=False, pad_token_id=0), GlmAttention, GlmRotaryEmbedding, None),
}
tensors = {}
for number, (name, (config, attention, rotary, window)) in enumerate(cases.items()):
    torch.manual_seed(number)
    config._attn_implementation = "eager"
    layer = attention(config, 0).eval()
    for key, parameter in layer.named_parameters():
        parameter.data = (torch.randn_like(parameter) * 0.4 + ("norm" in key and "weight" in key)).to(torch.bfloat16).float()
        tensors[f"{name}.{key}"] = parameter.data.clone()
    x = torch.randn(1, T, config.hidden_size)
    positions = torch.arange(T)
    seen = (positions[None] <= positions[:, None]) & (positions[None] > positions[:, None] - (window or T))
    mask = torch.zeros(T, T, dtype=torch.float64).masked_fill(~seen, -torch.inf)[None, None]
    angles = rotary(config)(x, positions[None])
    with torch.no_grad():
        y = layer.double()(x.double(), position_embeddings=tuple(part.double() for part in angles), attention_mask=mask)[0]
    tensors[f"{name}.x"], tensors[f"{name}.y"] = x, y.float()
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "golden", "blocks.safetensors")
save_file({key: value.contiguous() for key, value in tensors.items()}, path)
os.chmod(path, 0o644)
