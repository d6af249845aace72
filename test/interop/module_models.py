"""Models that need more than a list of Linear layers, for scripts/make-module-fixtures.py and quanto_peer.py."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return torch.relu(self.fc(x))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        block = Block()
        self.layers = nn.ModuleList([block, block, block])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = nn.Linear(8, 8)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(8, 6)
        self.norm = nn.LayerNorm(6, elementwise_affine=False)
        self.fc2 = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc2(self.norm(self.fc1(x)))


class Single(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, (3, 2))
        self.head = nn.Linear(6, 1)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).flatten(1))
