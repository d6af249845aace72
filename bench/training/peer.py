"""The models of bench/training in PyTorch, quantized by optimum-quanto where the name says so.

For each line `MODEL STEPS` or `MODEL-WEIGHTS-ACTIVATIONS STEPS` on stdin, a line of JSON with the milliseconds of each step.
"""
import json
import sys
import time

import torch
from optimum.quanto import Calibration, qtypes, quantize
from torch import nn
from torch.nn import functional as F


def mlp():
    layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers), torch.randn(128, 784)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def resnet18():
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)), torch.randn(64, 3, 32, 32)


def stepper(name):
    torch.manual_seed(0)
    base, *types = name.split("-")
    model, x = {"mlp": mlp, "resnet18": resnet18}[base]()
    if types:
        # Of no type, "qnone", there is none.
        weights, activations = (qtypes.get("q" + name) for name in types)
        quantize(model, weights=weights, activations=activations)
        if activations:
            with torch.no_grad(), Calibration():
                model(x)
    target = torch.randint(0, 10, (len(x),))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()

    return step


def main():
    torch.set_num_threads(int(sys.argv[1]))
    steppers = {}
    for line in sys.stdin:
        name, count = line.split()
        if name not in steppers:
            steppers[name] = stepper(name)
        wall, cpu = [], time.process_time()
        for _ in range(int(count)):
            start = time.perf_counter()
            steppers[name]()
            wall.append((time.perf_counter() - start) * 1000)
        print(json.dumps({"wall": wall, "cpu": (time.process_time() - cpu) * 1000}), flush=True)


main()
