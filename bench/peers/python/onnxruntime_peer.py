"""ONNX Runtime: products of quantized weights and of floats. `onnxruntime_peer.py THREADS`; see serve.py.

All copies of a weight are nodes of one graph, so that a call of the runtime is shared by all of them.
"""
import sys

import numpy as np
import onnxruntime
from mobile_net import quantized
from onnx import TensorProto, helper, numpy_helper
from serve import Prepared, serve

THREADS = int(sys.argv[1])
random = np.random.default_rng(1)


def bits(work, count):
    """MatMulNBits: codes with a float32 scale a group; at accuracy level 4 activations are int8."""
    n, k, group = work["n"], work["k"], work["groupSize"]
    codes = random.integers(0, 256, (n, k // group, group * count // 8), dtype=np.uint8)
    scales = random.random((n, k // group), dtype=np.float32) + 0.1
    attributes = {"K": k, "N": n, "bits": count, "block_size": group, "accuracy_level": 4}
    return "MatMulNBits", "com.microsoft", [codes, scales.reshape(-1)], attributes


def rows(work):
    """Codes with a scale a row; a scale and a zero point for all activations, chosen anew each time."""
    n, k = work["n"], work["k"]
    codes = random.integers(-127, 128, (k, n), dtype=np.int8)
    return "DynamicQuantizeMatMul", "com.microsoft", [codes, random.random(n, dtype=np.float32) + 0.1], {}


def floats(work):
    return "MatMul", "", [random.standard_normal((work["k"], work["n"]), dtype=np.float32)], {}


def operator(work):
    if work["weights"] == "float32":
        return floats(work)
    if work["weights"] == "int8":
        return rows(work) if work["groupSize"] is None else bits(work, 8)
    if work["weights"] == "int4":
        return bits(work, 4)
    raise ValueError(f"has no product with {work['weights']}")


def session_of(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def network(work):
    session = session_of(quantized(work["batch"]))
    x = random.standard_normal((work["batch"], 3, 224, 224), dtype=np.float32)
    return Prepared("QDQ, uint8 × int8", 0, lambda: session.run(None, {"x": x}))


def make(work):
    if "batch" in work:
        return network(work)
    m, n, k, copies = work["rows"], work["n"], work["k"], work["copies"]
    name, domain, arrays, attributes = operator(work)
    nodes, weights = [], []
    for copy in range(copies):
        names = [f"w{copy}_{i}" for i in range(len(arrays))]
        # Values of its own: equal weights would be held, and read, once.
        weights += [numpy_helper.from_array(np.roll(array, copy), name) for array, name in zip(arrays, names)]
        nodes.append(helper.make_node(name, ["x", *names], [f"y{copy}"], domain=domain, **attributes))
    floating = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    outputs = [floating(f"y{copy}", [m, n]) for copy in range(copies)]
    graph = helper.make_graph(nodes, "work", [floating("x", [m, k])], outputs, weights)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    session = session_of(helper.make_model(graph, opset_imports=opsets, ir_version=10))
    # Bound once, so that no call makes or copies an output.
    binding = session.io_binding()
    x = random.standard_normal((m, k), dtype=np.float32)
    held = [onnxruntime.OrtValue.ortvalue_from_numpy(x)]
    binding.bind_ortvalue_input("x", held[0])
    for copy in range(copies):
        held.append(onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((m, n), dtype=np.float32)))
        binding.bind_ortvalue_output(f"y{copy}", held[-1])
    size = sum(array.nbytes for array in arrays)
    return Prepared(name, size, lambda held=held: session.run_with_iobinding(binding), copies)


serve(["onnxruntime"], make)
