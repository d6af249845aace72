"""Writes test/golden/observers.json: what numpy makes of values that are the same in every language.

    python scripts/make-observer-fixtures.py
"""
import json
from pathlib import Path

import numpy as np

QMAX = 127


def uniform(multiplier, count=20000):
    """count values in -1..1, the same in every language."""
    return np.array([(i * multiplier) % 2**32 for i in range(1, count + 1)], dtype=np.float64) / 2**31 - 1


def distributions():
    """Even, bell-shaped, and with heavy tails, rounded to float32."""
    u = uniform(2654435761)
    yield "even", u
    yield "bell", ((u + uniform(2246822519)) + uniform(3266489917)) + uniform(668265263)
    yield "tails", u / (1.01 - np.abs(u))


def squared_error(x, scale):
    """Of the values themselves, not of their histogram."""
    codes = np.clip(np.rint(x / scale), -QMAX, QMAX)
    return float(np.square(x - scale * codes).sum())


def least_squares(x):
    scales = np.abs(x).max() / QMAX * np.geomspace(1, 0.02, 1500)
    errors = [squared_error(x, scale) for scale in scales]
    best = int(np.argmin(errors))
    return {"scale": float(scales[best]), "error": errors[best]}


def entropy(x, bins=2048):
    """Migacz's procedure, on a histogram up to the next power of two."""
    magnitudes = np.abs(x)
    upper = 2.0 ** np.ceil(np.log2(magnitudes.max()))
    hist, _ = np.histogram(magnitudes, bins=bins, range=(0, upper))
    used = np.flatnonzero(hist)[-1] + 1
    divergences = []
    for end in range(QMAX + 1, used + 1):
        reference = hist[:end].astype(np.float64)
        reference[-1] += hist[end:].sum()
        reference /= reference.sum()
        edges = [(level * end) // (QMAX + 1) for level in range(QMAX + 2)]
        quantized = np.zeros(end)
        for first, last in zip(edges, edges[1:]):
            chunk = hist[first:last]
            if chunk.any():
                quantized[first:last] = np.where(chunk > 0, chunk.sum() / np.count_nonzero(chunk), 0)
        quantized /= quantized.sum()
        at = reference > 0
        with np.errstate(divide="ignore"):
            divergences.append(float((reference[at] * np.log(reference[at] / quantized[at])).sum()))
    best = int(np.argmin(divergences)) + QMAX + 1
    return {"bins": best, "width": upper / bins, "divergence": divergences[best - QMAX - 1]}


cases = []
for name, x in distributions():
    x = x.astype(np.float32).astype(np.float64)
    magnitudes = np.abs(x)
    cases.append(
        {
            "name": name,
            "count": len(x),
            "sum": float(magnitudes.sum()),
            "largest": float(magnitudes.max()),
            "percentiles": {str(p): float(np.percentile(magnitudes, p)) for p in (50, 99, 99.9, 99.99, 100)},
            "absmaxError": squared_error(x, magnitudes.max() / QMAX),
            "mse": least_squares(x),
            "entropy": entropy(x),
        }
    )
target = Path(__file__).parent.parent / "test/golden/observers.json"
target.write_text(json.dumps({"numpy": np.__version__, "cases": cases}, indent=1) + "\n")
