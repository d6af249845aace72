"""Does the jobs of a JSON list with compressed-tensors and transformers; see test/interop/compressed/compressed.test.ts.

compressed  the settings of a folder are matched to the layers of its model, and each is decompressed: `out` has the weights
            of all quantized layers; with `ids` the logits, too, of the model that from_pretrained makes
fp8         from_pretrained(folder) of fine-grained float8, dequantized while it is loaded: weights and logits
"""

import json
import sys

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig
from compressed_tensors.utils.match import match_named_modules, match_targets
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, FineGrainedFP8Config


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().contiguous()


def compressed(job):
    settings = json.load(open(f"{job['folder']}/config.json"))["quantization_config"]
    config = QuantizationConfig.model_validate(settings)
    schemes = {target: scheme for scheme in config.config_groups.values() for target in scheme.targets}
    stored = load_file(f"{job['folder']}/model.safetensors")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(job["folder"]))
    weights = {}
    for name, module in match_named_modules(model, schemes, config.ignore, warn_on_fail=True):
        scheme = schemes[match_targets(name, module, schemes)[0]]
        parts = {key.removeprefix(f"{name}."): value for key, value in stored.items() if key.startswith(f"{name}.")}
        compressor = BaseCompressor.get_value_from_registry(scheme.format)
        weights[f"{name}.weight"] = compressor.decompress(parts, scheme)["weight"].contiguous()
    if "ids" in job:
        weights["logits"] = logits(AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32), job["ids"])
    save_file(weights, job["out"])


def fp8(job):
    settings = json.load(open(f"{job['folder']}/config.json"))["quantization_config"]
    config = FineGrainedFP8Config(**{**settings, "dequantize": True})
    model = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32, quantization_config=config)
    scales = [name for name in load_file(f"{job['folder']}/model.safetensors") if name.endswith("_scale_inv")]
    names = [name.removesuffix("_scale_inv") for name in scales]
    weights = {name: model.get_parameter(name).data.contiguous() for name in names}
    save_file({**weights, "logits": logits(model, job["ids"])}, job["out"])


jobs = {"compressed": compressed, "fp8": fp8}
for job in json.load(open(sys.argv[1])):
    jobs[job["task"]](job)
