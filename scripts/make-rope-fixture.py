"""Writes test/golden/rope.json: the rotary frequencies of transformers for Llama 3's scaling, linear scaling and none."""
import json
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

cases = {
    "default": {"rope_type": "default", "rope_theta": 10000.0},
    "linear": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
    "llama3": {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "llama3.2": {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
out = {}
for name, parameters in cases.items():
    config = LlamaConfig(hidden_size=512, num_attention_heads=8, head_dim=64, max_position_embeddings=131072, rope_parameters=parameters)
    out[name] = {"rope_parameters": parameters, "inv_freq": LlamaRotaryEmbedding(config).inv_freq.tolist()}
json.dump(out, open("test/golden/rope.json", "w"), indent=1)
