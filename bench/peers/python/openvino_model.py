"""Measures OpenVINO GenAI: `openvino_model.py MODEL.gguf`; bench/peers/worker.ts says what is asked for."""
import importlib.metadata
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai
from serve import answer_requests

pipelines = {}


def pipeline_of(threads):
    """Its stateful pipeline: the other one keeps prompts, so that a prompt is not read a second time."""
    if threads not in pipelines:
        pipelines[threads] = genai.LLMPipeline(
            sys.argv[1], "CPU", ATTENTION_BACKEND="SDPA", INFERENCE_NUM_THREADS=threads
        )
    return pipelines[threads]


def load():
    started = time.perf_counter()
    pipeline_of(2)
    version = importlib.metadata.version("openvino-genai")
    load_ms = 1000 * (time.perf_counter() - started)
    return {"name": "openvino", "threads": 0, "version": version, "loadMs": load_ms}


def run(prompt, newTokens, setting, **_):
    config = genai.GenerationConfig(max_new_tokens=newTokens, ignore_eos=True, do_sample=False)
    ids = np.array([prompt], np.int64)
    inputs = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
    result = pipeline_of(setting["threads"]).generate(inputs, config)
    metrics = result.perf_metrics
    return {
        "tokenIds": list(result.tokens[0]),
        "firstMs": metrics.get_ttft().mean,
        # They come in microseconds.
        "stepMs": [step / 1000 for step in metrics.raw_metrics.m_durations],
    }


def answer(request):
    call = request.pop("call")
    return load() if call == "load" else run(**request)


answer_requests(answer)
