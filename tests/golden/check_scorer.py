#!/usr/bin/env python3
"""A reward model that `r1 train` saved, by transformers: loads it and compares the scores of held-out pairs with those that the run wrote.

    pip install torch==2.11.0 transformers==5.17.0
    python tests/golden/check_scorer.py RUN/checkpoints/latest RUN/eval/step_000005.jsonl pairs.jsonl     # rows {prompt, chosen, rejected}
    python tests/golden/check_scorer.py RUN/checkpoints/latest RUN/eval/step_000005.jsonl pairs.jsonl BASE     # a run with lora: its adapter/ by PEFT on BASE
"""
import json
import sys

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

directory, scored, rows = sys.argv[1:4]
tokenizer = AutoTokenizer.from_pretrained(directory)
if len(sys.argv) > 4:
    from peft import PeftModel
    # Under the run's own config: the start model's may name the stop token as padding, and then the token before it would be scored.
    base = AutoModelForSequenceClassification.from_pretrained(sys.argv[4], config=AutoConfig.from_pretrained(directory), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, directory + "/adapter").eval()
else:
    model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=1).eval()
data = [json.loads(line) for line in open(rows, encoding="utf-8")]
worst = count = 0
for line in open(scored, encoding="utf-8"):
    ours = json.loads(line)
    row = data[int(ours["name"].rsplit(":", 1)[1]) - 1]
    for key in ("chosen", "rejected"):
        turns = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[key]}]
        text = tokenizer.apply_chat_template(turns, tokenize=False).rstrip("\n")  # the answer ends with its stop token
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        with torch.no_grad():
            theirs = model(**ids).logits.float().item()
        worst, count = max(worst, abs(theirs - ours[key])), count + 1
print(f"{type(model).__name__}, {model.dtype}: {count} scores, largest difference {worst:.2g}")
sys.exit(int(worst > (5e-2 if model.dtype == torch.bfloat16 else 1e-4)))
