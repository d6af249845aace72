"""The rows of examples/cifar, computed by PyTorch and optimum-quanto: accuracy of ResNet-20 on 200 test images.

    pip install torch optimum-quanto safetensors numpy
    python scripts/cifar_quanto.py MODEL_DIR DATA_DIR     (resnet20.safetensors; test-200.bin and calibration-1000.bin)
"""
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from optimum.quanto import Calibration, freeze, qfloat8, qint2, qint4, qint8, quantize
from safetensors.torch import load_file
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.pad = (planes - inputs) // 2 if stride != 1 else None

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        short = x if self.pad is None else F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + short)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        make = lambda i, o, s: nn.Sequential(Block(i, o, s), Block(o, o, 1), Block(o, o, 1))
        self.layer1, self.layer2, self.layer3 = make(16, 16, 1), make(16, 32, 2), make(32, 64, 2)
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        return self.linear(F.avg_pool2d(y, y.size(3)).flatten(1))


def read(path):
    rows = np.fromfile(path, np.uint8).reshape(-1, 3073)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = (rows[:, 1:].reshape(-1, 3, 32, 32) / 255 - mean[:, None, None]) / std[:, None, None]
    return torch.tensor(images, dtype=torch.float32), torch.tensor(rows[:, 0].astype(np.int64))


def main(models, data):
    torch.manual_seed(0)
    x, labels = read(f"{data}/test-200.bin")
    calibration, _ = read(f"{data}/calibration-1000.bin")
    state = load_file(f"{models}/resnet20.safetensors")
    results = {}
    variants = {"float": (None, None), "w8a8": (qint8, qint8), "w4a8": (qint4, qint8), "w2a8": (qint2, qint8), "float8": (qfloat8, qfloat8), "w8": (qint8, None), "w4": (qint4, None), "w2": (qint2, None)}
    for name, (weights, activations) in variants.items():
        model = ResNet20()
        model.load_state_dict(state, strict=False)
        model.eval()
        with torch.no_grad():
            if weights:
                quantize(model, weights=weights, activations=activations)
                if activations:
                    with Calibration():
                        for batch in calibration.split(100):
                            model(batch)
                freeze(model)
            logits = model(x)
            logits = logits.dequantize() if hasattr(logits, "dequantize") else logits
        results[name] = {"correct": int((logits.argmax(1) == labels).sum()), "loss": float(F.cross_entropy(logits, labels))}
    print(json.dumps(results, indent=2))


main(*sys.argv[1:])
