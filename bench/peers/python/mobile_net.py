"""MobileNetV2 of int8, as ONNX Runtime's own quantizer makes it; bench/peers/mobileNet.ts is the same."""
import os
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class Graph:
    def __init__(self):
        self.random, self.nodes, self.weights, self.count = np.random.default_rng(1), [], [], 0

    def add(self, kind, *inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(kind, inputs, [f"t{self.count}"], **attributes))
        return f"t{self.count}"

    def constant(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def conv(self, x, inputs, outputs, kernel, stride=1, groups=1, activate=True):
        fan = inputs // groups * kernel * kernel
        w = self.constant(self.random.standard_normal((outputs, inputs // groups, kernel, kernel)) * (2 / fan) ** 0.5)
        b = self.constant(self.random.standard_normal(outputs) * 0.1)
        x = self.add("Conv", x, w, b, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)
        return self.add("Clip", x, self.constant(np.array(0)), self.constant(np.array(6))) if activate else x


def floats(batch):
    graph = Graph()
    x, inputs = graph.conv("x", 3, 32, 3, 2), 32
    for expansion, outputs, blocks, first in STAGES:
        for block in range(blocks):
            stride, hidden = (first if block == 0 else 1), inputs * expansion
            y = graph.conv(x, inputs, hidden, 1) if expansion > 1 else x
            y = graph.conv(y, hidden, hidden, 3, stride, hidden)
            y = graph.conv(y, hidden, outputs, 1, activate=False)
            x = graph.add("Add", x, y) if stride == 1 and inputs == outputs else y
            inputs = outputs
    x = graph.add("Flatten", graph.add("GlobalAveragePool", graph.conv(x, inputs, 1280, 1)))
    head = graph.constant(graph.random.standard_normal((1280, 1000)) * 0.03)
    x = graph.add("Gemm", x, head, graph.constant(np.zeros(1000)))
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    made = helper.make_graph(graph.nodes, "net", [value("x", [batch, 3, 224, 224])], [value(x, [batch, 1000])], graph.weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


class Noise(CalibrationDataReader):
    def __init__(self, batch):
        random = np.random.default_rng(2)
        self.batches = iter([{"x": random.standard_normal((batch, 3, 224, 224), dtype=np.float32)}])

    def get_next(self):
        return next(self.batches, None)


def quantized(batch):
    """Activations uint8, weights int8 with a scale a channel: what ONNX Runtime is fastest with on x86."""
    with tempfile.TemporaryDirectory() as folder:
        plain, path = os.path.join(folder, "float.onnx"), os.path.join(folder, "int8.onnx")
        onnx.save(floats(batch), plain)
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(plain, path, Noise(batch), QuantFormat.QDQ, per_channel=True, **types)
        return onnx.load(path)
