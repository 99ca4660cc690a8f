#!/usr/bin/env python3
"""Loads model folders with transformers and compares its logits with ours.

  check_saved.py TOLERANCE FOLDER OURS [FOLDER OURS ...]

OURS is a safetensors file with tokens [B,T] int64 and logits [B,T,V] float32, computed in float32 on the folder's weights.
"not:OURS" are logits that must not fit, to see that the comparison can fail.
Also wanted: every parameter is in the folder (nothing newly initialised), nothing is left over, and saving the folder again by
transformers changes no tensor. Exit code 1 if max |a - b| / max |b| exceeds TOLERANCE or anything else differs.
"""
import json
import os
import sys
import tempfile

import torch
from deepseek_golden import v1_forward
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()


def independent_logits(folder, config, tokens):
    """DeepSeekMoE: transformers ships no "deepseek"; the released files bring code of their own, which is not run here."""
    weights = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            weights.update(load_file(os.path.join(folder, name)))
    with torch.no_grad():
        return v1_forward({k: v.float() for k, v in weights.items()}, config, tokens, {})[0]


def report(folder, by, logits, data, ours, tolerance, wrong):
    error = ((logits - data["logits"]).abs().max() / logits.abs().max()).item()
    print(f"{folder}: {by}, relative error {error:.3e}", wrong or "")
    return (error > 1000 * tolerance if ours.startswith("not:") else error <= tolerance) and not wrong


def check(folder, ours, tolerance):
    data = load_file(ours.removeprefix("not:"))
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    if config["model_type"] == "deepseek":
        return report(folder, "deepseek by independent PyTorch", independent_logits(folder, config, data["tokens"]), data, ours, tolerance, {})
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", attn_implementation="eager", output_loading_info=True)
    wrong = {k: v for k, v in info.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")}
    stored = model.dtype
    with tempfile.TemporaryDirectory() as again:
        model.save_pretrained(again)
        second, _ = AutoModelForCausalLM.from_pretrained(again, dtype="auto", output_loading_info=True)
    for name, value in model.state_dict().items():
        if not torch.equal(value, second.state_dict()[name]):
            wrong[name] = "changed by saving again"
    # Loaded anew in float32: Gemma's embedding scale is a buffer, which the stored type has rounded.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        logits = model.eval()(data["tokens"], use_cache=False).logits
    return report(folder, f"{config['model_type']} in {stored}", logits, data, ours, tolerance, wrong)


if __name__ == "__main__":
    torch.set_num_threads(1)  # two spin against each other on a busy machine
    pairs = list(zip(sys.argv[2::2], sys.argv[3::2]))
    sys.exit(0 if pairs and all([check(folder, ours, float(sys.argv[1])) for folder, ours in pairs]) else 1)
