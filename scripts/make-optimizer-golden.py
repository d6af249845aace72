"""Makes test/golden/optimizers.json: steps of torch.optim, learning rates of its schedules, clipped gradients, and resized images.

    python scripts/make-optimizer-golden.py
"""
import json
import pathlib

import torch
from torch.optim import SGD, Adadelta, Adam, AdamW, lr_scheduler

torch.manual_seed(3)
STEPS = 6
START = [torch.randn(2, 3), torch.randn(4)]
GRADIENTS = [[torch.randn(2, 3), torch.randn(4)] for _ in range(STEPS)]
OPTIMIZERS = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW, "Adadelta": Adadelta}


def plain(tensors):
    return [tensor.detach().flatten().tolist() for tensor in tensors]


def steps(optimizer, settings, groups=None):
    """Parameters after every step; `groups` sets settings of each of the two parameters."""
    params = [start.clone().requires_grad_() for start in START]
    trained = [{"params": [p], **group} for p, group in zip(params, groups)] if groups else params
    optim = OPTIMIZERS[optimizer](trained, **settings)
    after = []
    for gradients in GRADIENTS:
        for p, g in zip(params, gradients):
            p.grad = g.clone()
        optim.step()
        after.append(plain(params))
    return {"optimizer": optimizer, "settings": settings, "groups": groups, "after": after}


def schedule(name, options, optimizer="SGD", settings=None, count=14):
    params = [start.clone().requires_grad_() for start in START]
    settings = settings or {"lr": 0.5}
    optim = OPTIMIZERS[optimizer]([{"params": [params[0]]}, {"params": [params[1]], "lr": 0.05}], **settings)
    built = {**options}
    if name == "LambdaLR":
        built = {"lr_lambda": [lambda epoch: 0.9**epoch, lambda epoch: 1 / (1 + epoch)]}
    scheduler = getattr(lr_scheduler, name)(optim, **built)
    rates, momenta = [], []
    for epoch in range(count):
        if epoch > 0:
            optim.step()
            scheduler.step()
        rates.append(scheduler.get_last_lr())
        group = optim.param_groups[0]
        momenta.append(group["betas"][0] if "betas" in group else group["momentum"])
    return {"schedule": name, "options": options, "optimizer": optimizer, "settings": settings, "rates": rates, "momenta": momenta}


def clipped(max_norm, norm_type):
    params = [start.clone().requires_grad_() for start in START]
    for p, g in zip(params, GRADIENTS[0]):
        p.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(params, max_norm, norm_type)
    return {"maxNorm": max_norm, "normType": str(norm_type), "norm": norm.item(), "after": plain([p.grad for p in params])}


def resized(height, width, to_height, to_width):
    image = torch.randn(2, height, width)
    size = (to_height, to_width)
    y = torch.nn.functional.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=False)[0]
    return {"shape": [2, height, width], "size": size, "x": image.flatten().tolist(), "y": y.flatten().tolist()}


golden = {
    "torch": torch.__version__,
    "start": plain(START),
    "gradients": [plain(gradients) for gradients in GRADIENTS],
    "steps": [
        steps("SGD", {"lr": 0.1}),
        steps("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
        steps("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
        steps("SGD", {"lr": 0.1, "momentum": 0.9}, [{"lr": 0.02}, {"momentum": 0.5, "weight_decay": 0.1}]),
        steps("Adam", {}),
        steps("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
        steps("AdamW", {"lr": 0.05, "weight_decay": 0.1}),
        steps("AdamW", {"lr": 0.05}, [{"weight_decay": 0.0}, {"betas": (0.5, 0.9)}]),
        steps("Adadelta", {}),
        steps("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}),
    ],
    "schedules": [
        schedule("StepLR", {"step_size": 4, "gamma": 0.3}),
        schedule("MultiStepLR", {"milestones": [2, 5, 11], "gamma": 0.4}),
        schedule("ExponentialLR", {"gamma": 0.8}),
        schedule("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.01}),
        schedule("LinearLR", {}),
        schedule("LinearLR", {"start_factor": 0.5, "end_factor": 0.1, "total_iters": 9}),
        schedule("LambdaLR", {}),
        schedule("OneCycleLR", {"max_lr": [0.7, 0.2], "total_steps": 14}, "SGD", {"lr": 0.5, "momentum": 0.9}),
        schedule("OneCycleLR", {"max_lr": 0.7, "total_steps": 14, "pct_start": 0.4, "anneal_strategy": "linear"}, "Adam"),
    ],
    "clipped": [clipped(1.0, 2.0), clipped(100.0, 2.0), clipped(0.5, float("inf"))],
    "resized": [resized(4, 5, 8, 10), resized(6, 7, 3, 4), resized(5, 5, 7, 3), resized(3, 3, 3, 3)],
}
path = pathlib.Path(__file__).parent.parent / "test/golden/optimizers.json"
path.write_text(json.dumps(golden) + "\n")
