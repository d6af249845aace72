"""Writes test/golden/quanto/activations.{safetensors,json}: what optimum-quanto computes with quantized activations.

    python scripts/make-activation-fixtures.py test/golden/quanto

A small MLP, calibrated over three batches: the scales, the output of the first batch and, for a loss of mean(output * target), the
gradients of the unfrozen model, for several types, with and without streamlining.
"""

import json
import sys

import optimum.quanto as quanto
import torch
from safetensors.torch import save_file

BATCHES = 3


def model(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(24, 16), torch.nn.ReLU(), torch.nn.Linear(16, 12), torch.nn.ReLU(), torch.nn.Linear(12, 5, bias=False))


class CNN(torch.nn.Module):
    """Convolution, LayerNorm over the columns, ReLU, Linear."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.conv = torch.nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.norm = torch.nn.LayerNorm(4)
        self.fc = torch.nn.Linear(64, 5)
        torch.nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))


def cnn(tensors):
    """A model with every layer that quanto knows, int8 and int8, calibrated on one batch without streamlining."""
    m = CNN()
    for name, value in m.state_dict().items():
        tensors[f"cnn.{name}"] = value.clone()
    tensors["cnn.x"] = x = torch.randn(3, 2, 8, 8)
    quanto.quantize(m, weights=quanto.qint8, activations=quanto.qint8)
    with torch.no_grad(), quanto.Calibration(streamline=False):
        m(x)
    quanto.freeze(m)
    for name, value in m.state_dict().items():
        tensors[f"cnn.frozen.{name}"] = value.detach().clone()
    tensors["cnn.output"] = m(x).dequantize().detach()
    print(m, quanto.quantization_map(m))


def main(folder):
    tensors, cases = {}, []
    cnn(tensors)
    torch.manual_seed(1)
    batches = [torch.randn(6, 24) * (1 + 0.3 * i) for i in range(BATCHES)]
    target = torch.randn(6, 5)
    for i, batch in enumerate(batches):
        tensors[f"batch.{i}"] = batch
    tensors["target"] = target
    for weights, activations, momentum, streamline, seed in [
        ("qint8", "qint8", 0.9, True, 7),
        ("qint8", "qint8", 0.9, False, 7),
        ("qint8", "qint8", 0.5, False, 7),
        ("qint4", "qint8", 0.9, False, 7),
        ("qint2", "qint8", 0.9, False, 7),
        # Another seed: float8 quantized twice, by scales whose ratio is simple, may lie halfway between two codes, where the last bit decides.
        ("qfloat8_e4m3fn", "qfloat8_e4m3fn", 0.9, True, 8),
        ("qint8", "qfloat8_e5m2", 0.9, False, 7),
        ("qfloat8_e4m3fn", "qint8", 0.9, True, 7),
    ]:
        m = model(seed)
        for name, value in m.state_dict().items():
            tensors[f"float{seed}.{name}"] = value.clone()
        quanto.quantize(m, weights=weights, activations=activations)
        with torch.no_grad(), quanto.Calibration(momentum=momentum, streamline=streamline):
            for batch in batches:
                m(batch)
        case = f"case{len(cases)}"
        cases.append({"name": case, "weights": weights, "activations": activations, "momentum": momentum, "streamline": streamline, "seed": seed})
        for name, module in m.named_modules():
            if hasattr(module, "input_scale"):
                tensors[f"{case}.{name}.input_scale"] = module.input_scale.detach().clone()
                tensors[f"{case}.{name}.output_scale"] = module.output_scale.detach().clone()
        y = m(batches[0])
        loss = (y * target).mean()
        loss.backward()
        y = y.dequantize() if isinstance(y, quanto.QTensor) else y
        tensors[f"{case}.output"] = y.detach().clone()
        for name, parameter in m.named_parameters():
            tensors[f"{case}.grad.{name}"] = parameter.grad.clone()
        quanto.freeze(m)
        frozen = m(batches[0])
        frozen = frozen.dequantize() if isinstance(frozen, quanto.QTensor) else frozen
        assert torch.equal(frozen, y), case
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, f"{folder}/activations.safetensors")
    with open(f"{folder}/activations.json", "w") as file:
        json.dump({"torch": torch.__version__, "quanto": "0.2.7", "batches": BATCHES, "cases": cases}, file, indent=1)
        file.write("\n")


main(sys.argv[1])
