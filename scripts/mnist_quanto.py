"""The MNIST MLP with PyTorch and optimum-quanto, from the initial weights and the order of batches that lowbit wrote.

    python scripts/mnist_quanto.py FOLDER DATA

FOLDER holds what bench/mnist.ts writes: run.json (settings), weights.bin (float32, the parameters one after the other)
and order.bin (uint32, the training images' numbers, epoch after epoch). Prints one JSON document: the losses of the first 50 steps and,
for each pair of types, loss and accuracy on the test images after each stage.
"""
import copy
import gzip
import json
import pathlib
import sys
import time

import numpy as np
import torch
from optimum.quanto import Calibration, freeze, qtypes, quantize
from torch.nn import functional as F

folder, data = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
run = json.loads((folder / "run.json").read_text())
torch.set_num_threads(run["threads"])


class MLP(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(784, 512)
        self.fc2 = torch.nn.Linear(512, 512)
        self.fc3 = torch.nn.Linear(512, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


def images(part):
    pixels = np.frombuffer(gzip.open(data / "mnist" / f"{part}-images-idx3-ubyte.gz").read(), np.uint8, offset=16)
    labels = np.frombuffer(gzip.open(data / "mnist" / f"{part}-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)
    x = torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).reshape(-1, 784)
    return (x - 0.1307) / 0.3081, torch.from_numpy(labels.astype(np.int64))


train_x, train_y = images("train")
test_x, test_y = images("t10k")
orders = np.fromfile(folder / "order.bin", np.uint32).astype(np.int64).reshape(-1, len(train_x))


def batches(epoch):
    size = run["batchSize"]
    for start in range(0, len(train_x), size):
        index = orders[epoch][start : start + size]
        yield train_x[index], train_y[index]


def train(model, epochs, lr):
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    steps = len(epochs) * -(-len(train_x) // run["batchSize"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    losses = []
    for epoch in epochs:
        for x, y in batches(epoch):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return losses


def evaluate(model):
    model.eval()
    loss, right = 0.0, 0
    with torch.no_grad():
        for x, y in zip(test_x.split(1000), test_y.split(1000)):
            logits = model(x)
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            right += (logits.argmax(1) == y).sum().item()
    return {"loss": loss / len(test_y), "accuracy": right / len(test_y)}


model = MLP()
values = torch.from_numpy(np.fromfile(folder / "weights.bin", np.float32))
with torch.no_grad():
    for p in model.parameters():
        p.copy_(values[: p.numel()].reshape(p.shape))
        values = values[p.numel() :]

start = time.perf_counter()
losses = train(model, range(run["epochs"]), run["lr"])
rows = [{"weights": "float", "activations": "float", "stage": "float", **evaluate(model), "seconds": time.perf_counter() - start}]


def stage(name, weights, activations, quantized, seconds=None):
    rows.append({"weights": weights, "activations": activations, "stage": name, **evaluate(quantized), "seconds": seconds})


for weights, activations in run["types"]:
    quantized = copy.deepcopy(model)
    quantize(quantized, weights=qtypes["q" + weights], activations=None if activations == "none" else qtypes["q" + activations])
    stage("quantized", weights, activations, quantized)
    if activations != "none":
        quantized.eval()
        with torch.no_grad(), Calibration():
            for step, (x, _) in zip(range(run["calibrationBatches"]), batches(0)):
                quantized(x)
        stage("calibrated", weights, activations, quantized)
    start = time.perf_counter()
    train(quantized, [run["epochs"]], run["tuneLr"])
    stage("tuned", weights, activations, quantized, time.perf_counter() - start)
    freeze(quantized)
    stage("frozen", weights, activations, quantized)

print(json.dumps({"losses": losses[:50], "rows": rows}, indent=1))
