#!/usr/bin/env python3
"""What transformers generates and scores, for rollout/rollout_golden_test.cpp.

usage: rollout_greedy.py MODEL_DIR IN.json OUT.json
IN   {"new_tokens": N, "prompts": [[id, ...], ...], "sequences": [{"prompt": [...], "tokens": [...]}, ...]}
OUT  {"greedy": [{"tokens": [...], "gaps": [...]}, ...], "logprobs": [[...], ...]}
gaps: logit of the chosen token less that of the runner-up; logprobs: of each token of a sequence, temperature 1.
Everything in float32 on the CPU with eager attention.
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM

model_dir, source, target = sys.argv[1:]
torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager").eval()
with open(source) as f:
    work = json.load(f)
out = {"greedy": [], "logprobs": []}
with torch.no_grad():
    for prompt in work["prompts"]:
        ids = torch.tensor([prompt])
        made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=work["new_tokens"],
                              return_dict_in_generate=True, output_logits=True, temperature=None, top_p=None, top_k=None)
        top = torch.stack(made.logits)[:, 0].topk(2).values
        out["greedy"].append({"tokens": made.sequences[0, len(prompt):].tolist(), "gaps": (top[:, 0] - top[:, 1]).tolist()})
    for s in work["sequences"]:
        ids = torch.tensor([s["prompt"] + s["tokens"]])
        lp = model(ids).logits[0, len(s["prompt"]) - 1:-1].log_softmax(-1)
        out["logprobs"].append(lp.gather(-1, ids[0, len(s["prompt"]):, None])[:, 0].tolist())
with open(target, "w") as f:
    json.dump(out, f)
