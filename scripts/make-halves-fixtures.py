"""Writes test/golden/halves.json: what PyTorch makes of every pattern of the small floats, and of float32 around their midpoints.

    python scripts/make-halves-fixtures.py

Per dtype: `decoded`, the SHA-256 of the float32 values of all patterns (little endian, NaN as 7fc00000), and `encoded`, the SHA-256 of the
patterns (NaN as `nan`) of the float32 bit patterns 4096·i - 1, 4096·i and 4096·i + 1, i = 0 … 2^20 - 1. All midpoints are among them.
"""

import hashlib
import json
import pathlib

import numpy as np
import torch

DTYPES = {
    "float16": (torch.float16, 0x7E00),
    "bfloat16": (torch.bfloat16, 0x7FC0),
    "float8_e4m3fn": (torch.float8_e4m3fn, 0x7F),
    "float8_e5m2": (torch.float8_e5m2, 0x7F),
    "float8_e4m3fnuz": (torch.float8_e4m3fnuz, 0x80),
    "float8_e8m0fnu": (torch.float8_e8m0fnu, 0xFF),
}


def sha256(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


base = np.arange(2**20, dtype=np.uint32) << 12
inputs = np.stack([base - 1, base, base + 1], axis=1).reshape(-1).view(np.float32)

fixture = {"torch": torch.__version__, "dtypes": {}}
for name, (dtype, nan) in DTYPES.items():
    bits = dtype.itemsize * 8
    unsigned, signed = (np.uint8, torch.uint8) if bits == 8 else (np.uint16, torch.int16)
    patterns = torch.from_numpy(np.arange(2**bits, dtype=unsigned).view(np.uint8 if bits == 8 else np.int16)).view(dtype)
    decoded = patterns.to(torch.float32).numpy()
    decoded[np.isnan(decoded)] = np.nan
    encoded = torch.from_numpy(inputs).to(dtype).view(signed).numpy().view(unsigned).copy()
    encoded[np.isnan(inputs)] = nan
    fixture["dtypes"][name] = {"nan": nan, "decoded": sha256(decoded), "encoded": sha256(encoded)}

path = pathlib.Path(__file__).parent.parent / "test" / "golden" / "halves.json"
path.write_text(json.dumps(fixture, indent=2) + "\n")
