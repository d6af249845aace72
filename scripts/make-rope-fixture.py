"""Writes test/golden/rope.json: the rotary frequencies and attention factors of transformers for every scaling, for texts of `length`
tokens where they depend on it; `partial` names those of a part of each head."""
import json

from transformers import LlamaConfig, PhiConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.phi.modeling_phi import PhiRotaryEmbedding

llama3 = {"rope_type": "llama3", "rope_theta": 500000.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
yarn = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 32768}
dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
longrope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 4096,
            "short_factor": [1 + i / 64 for i in range(32)], "long_factor": [1 + i * i / 16 for i in range(32)]}
cases = {
    "default": {"rope_type": "default", "rope_theta": 10000.0},
    "linear": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
    "dynamic, short": (dynamic, 1000),
    "dynamic, long": (dynamic, 300000),
    "llama3": {**llama3, "factor": 8.0},
    "llama3.2": {**llama3, "factor": 32.0},
    "yarn": yarn,
    "yarn, every field": {**yarn, "beta_fast": 16.0, "beta_slow": 2.0, "mscale": 0.7, "mscale_all_dim": 1.3, "truncate": False},
    "yarn, attention factor": {**yarn, "attention_factor": 1.25},
    "longrope, short": (longrope, 4096),
    "longrope, long": (longrope, 4097),
    "partial, default": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.375},
    "partial, linear": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    "partial, yarn": {**yarn, "partial_rotary_factor": 0.25},
}
sizes = dict(hidden_size=512, num_attention_heads=8, max_position_embeddings=131072)
out = {}
for name, case in cases.items():
    parameters, length = case if isinstance(case, tuple) else (case, None)
    config = (PhiConfig if "partial" in name else LlamaConfig)(**sizes, rope_parameters=dict(parameters))
    if parameters["rope_type"] == "default":
        # Phi's, which turns a part of each head; where there is no part, all of it.
        config = PhiConfig(**sizes, rope_parameters={"partial_rotary_factor": 1.0, **parameters})
        inv_freq, factor = PhiRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        inv_freq, factor = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, seq_len=length)
    out[name] = {"rope_parameters": parameters, "inv_freq": inv_freq.tolist(), "attention_factor": factor}
    if length:
        out[name]["length"] = length
with open("test/golden/rope.json", "w") as file:
    json.dump(out, file, indent=1)
