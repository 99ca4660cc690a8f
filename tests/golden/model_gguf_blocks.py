#!/usr/bin/env python3
"""Makes tests/golden/model/gguf_blocks.safetensors: random blocks of every GGUF number format that model/gguf_blocks.h reads
and their values by the reference dequantisation of the package `gguf`.

TYPE.raw [blocks, bytes] uint8 (random bits, sane half-precision scales), TYPE.values [blocks, elements] float32.
Run: python model_gguf_blocks.py
"""
import os
from importlib.metadata import version

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize
from safetensors.numpy import save_file

# Where the half-precision scales and minima lie in a block.
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}

rng = np.random.default_rng(7)
out = {}
for kind, places in HALVES.items():
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = 3 if elements == 256 else 8
    raw = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    for at in places:
        scale = (rng.standard_normal(blocks) * 0.01).astype(np.float16)
        raw[:, at:at + 2] = scale.view(np.uint8).reshape(blocks, 2)
    out[f"{kind.name}.raw"] = raw
    out[f"{kind.name}.values"] = dequantize(raw, kind).astype(np.float32)
# Plain formats: every kind of half (zero, subnormal, largest) and some bfloat16.
half = np.array([0x0000, 0x8000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0xC000, 0x7BFF], dtype=np.uint16)
out["F16.raw"], out["F16.values"] = half.view(np.uint8).reshape(8, 2), half.view(np.float16).astype(np.float32).reshape(8, 1)
brain = rng.standard_normal(8).astype(np.float32).view(np.uint32) >> 16
out["BF16.raw"] = brain.astype(np.uint16).view(np.uint8).reshape(8, 2)
out["BF16.values"] = (brain.astype(np.uint32) << 16).view(np.float32).reshape(8, 1)
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model", "gguf_blocks.safetensors")
save_file(out, path, metadata={"gguf": version("gguf"), "numpy": np.__version__, "made_by": "tests/golden/model_gguf_blocks.py"})
print(path, os.path.getsize(path))
