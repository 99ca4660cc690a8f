#!/usr/bin/env python3
"""A reward as a program: one JSON line a group in, one JSON line out, in order, flushed. Anything else goes to stderr."""
import json
import sys

for line in sys.stdin:
    request = json.loads(line)  # {"id", "prompt_id", "task", "prompt", "messages", "reference", "columns", "completions"}
    rewards, verdicts, lengths = [], [], []
    for completion in request["completions"]:  # {"text", "token_ids", "stop"}; the first request has none: "are you there?"
        last = completion["text"].strip().splitlines()[-1] if completion["text"].strip() else ""
        if not last:
            rewards.append(None)  # abstains
            verdicts.append("unparsed")
        else:
            right = request["reference"].lower() in last.lower()
            rewards.append(1.0 if right else 0.0)
            verdicts.append("ok" if right else "wrong")
        lengths.append(len(last))
    print(json.dumps({"id": request["id"], "rewards": rewards, "verdicts": verdicts, "columns": {"last_line": lengths}}), flush=True)
