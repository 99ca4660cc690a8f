#!/usr/bin/env python3
"""Makes tests/golden/model/gguf_quantized.safetensors: values [64,32] float32 and what the package `gguf` makes of them in Q8_0.

Rows: normal values of several scales, one of zeros, one with a single large value, one of ties between two steps.
Run: python model_gguf_quantize.py
"""
import os
from importlib.metadata import version

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import quantize
from safetensors.numpy import save_file

rng = np.random.default_rng(11)
values = (rng.standard_normal((64, 32)) * 10.0 ** rng.integers(-5, 2, (64, 1))).astype(np.float32)
values[0] = 0
values[1] = 0
values[1, 7] = -3.5
values[2] = (np.arange(32) - 16 + 0.5) * 2
values[2, 0] = 127
out = {"values": values, "Q8_0": quantize(values, T.Q8_0)}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model", "gguf_quantized.safetensors")
save_file(out, path, metadata={"gguf": version("gguf"), "numpy": np.__version__, "made_by": "tests/golden/model_gguf_quantize.py"})
print(path, os.path.getsize(path))
