"""Reference: a plain GRPO loop on transformers, the curve that `r1 train` has to match in steps and beat in time.

Weights and optimizer float32, forward passes (generation too) under bfloat16 autocast. A step: the next `--prompts`
prompts of the training file, `--group` samples each at temperature 1 with no top-k/p, at most `--new` tokens; reward 1
when the last number of the completion equals the answer and the completion ended with EOS, else 0; advantage
(r - mean) / (std + 1e-4) within the group (std with n-1); loss = -sum(advantage * log p) / (all completion tokens of
the batch), one update a batch (so the ratio is 1, and neither clipping nor a KL term enters), gradient norm clipped
to 1.0, AdamW (0.9, 0.999, eps 1e-8, no decay) at a constant rate. Held-out: the first `--eval-prompts` distinct
prompts of the evaluation file, greedy and at temperature 1.

Prints one JSON line an event ({"case": "reference_grpo", "event": "eval"|"step"|"end", ...}); --json appends them to
a file. Seconds of a step exclude evaluation. Rows of both files: {"prompt": text, "answer": text}.
"""

import argparse
import json
import math
import re
import sys
import time
from fractions import Fraction

import common

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def last_number(text):
    found = _NUMBER.findall(text)
    return Fraction(found[-1].replace(",", "")) if found else None


def reward(text, ended, answer):
    return 1.0 if ended and last_number(text) == Fraction(answer) else 0.0


def read_rows(path, distinct=None):
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f if line.strip()]
    if distinct is None:
        return rows
    seen, out = set(), []
    for row in rows:
        if row["prompt"] not in seen and len(out) < distinct:
            seen.add(row["prompt"])
            out.append(row)
    if len(out) < distinct:
        raise SystemExit(f"{path}: {len(out)} distinct prompts, {distinct} asked; make a longer file")
    return out


def wilson(hits, n):
    z, p = 1.96, hits / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [round((centre - half) / (1 + z * z / n), 4), round((centre + half) / (1 + z * z / n), 4)]


class Reference:
    def __init__(self, args):
        import torch
        import transformers

        self.torch, self.args = torch, args
        torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(args.model, padding_side="left")
        self.model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.lr, weight_decay=0.0)
        self.eos = self.tokenizer.eos_token_id

    def autocast(self):
        return self.torch.autocast("cpu", dtype=self.torch.bfloat16)

    def generate(self, prompts, group, sample):
        """Returns (ids [N, P+C], attention mask, prompt length P, lengths with EOS, texts, ended flags)."""
        torch = self.torch
        chats = [
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": p}], add_generation_prompt=True, tokenize=False
            )
            for p in prompts
            for _ in range(group)
        ]
        batch = self.tokenizer(chats, return_tensors="pt", padding=True, add_special_tokens=False)
        how = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if sample else {"do_sample": False}
        with torch.no_grad(), self.autocast():
            ids = self.model.generate(**batch, max_new_tokens=self.args.new, pad_token_id=self.eos, **how)
        width = batch["input_ids"].shape[1]
        completion = ids[:, width:]
        is_eos = completion == self.eos
        ended = is_eos.any(1)
        lengths = torch.where(ended, is_eos.int().argmax(1) + 1, completion.shape[1])
        texts = [
            self.tokenizer.decode(c[:n], skip_special_tokens=True) for c, n in zip(completion, lengths.tolist())
        ]
        columns = torch.arange(completion.shape[1])
        mask = torch.cat([batch["attention_mask"], (columns < lengths[:, None]).long()], 1)
        return ids, mask, width, lengths, texts, ended.tolist()

    def evaluate(self, rows):
        out = {}
        for name, sample in (("greedy", False), ("t1", True)):
            hits = total = 0
            for start in range(0, len(rows), self.args.eval_batch):
                part = rows[start : start + self.args.eval_batch]
                _, _, _, lengths, texts, ended = self.generate([r["prompt"] for r in part], 1, sample)
                hits += sum(reward(t, e, r["answer"]) for t, e, r in zip(texts, ended, part))
                total += int(lengths.sum())
            out[name] = round(hits / len(rows), 4)
            out[name + "_ci95"] = wilson(hits, len(rows))
            out[name + "_mean_length"] = round(total / len(rows), 2)
        return out

    def train(self, ids, mask, width, lengths, advantages):
        """One update; returns (mean entropy a token, loss, gradient norm)."""
        torch = self.torch
        tokens = int(lengths.sum())
        entropy = loss_sum = 0.0
        order = torch.argsort(lengths)  # samples of like length share a micro-batch: less padding
        self.optimizer.zero_grad(set_to_none=True)
        for rows in order.split(self.args.micro):
            n = int(lengths[rows].max())
            x, m = ids[rows, : width + n], mask[rows, : width + n]
            positions = (m.cumsum(1) - 1).clamp(min=0)
            with self.autocast():
                logits = self.model(
                    input_ids=x, attention_mask=m, position_ids=positions, use_cache=False, logits_to_keep=n + 1
                ).logits[:, :-1]
            logits = logits.float()
            lse = torch.logsumexp(logits, -1)
            logp = logits.gather(-1, x[:, width:, None]).squeeze(-1) - lse
            valid = m[:, width:].bool()
            loss = -(advantages[rows, None] * logp)[valid].sum() / tokens
            loss.backward()
            loss_sum += loss.item()
            with torch.no_grad():
                expected = (torch.softmax(logits, -1) * logits).sum(-1)
                entropy += (lse - expected)[valid].sum().item()
            del logits, lse, logp, loss
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0).item()
        if not math.isfinite(norm):
            raise SystemExit(f"reference_grpo: gradient norm is {norm}; stopped")
        self.optimizer.step()
        return entropy / tokens, loss_sum, norm

    def step(self, rows):
        torch, group = self.torch, self.args.group
        start, cpu, others = time.perf_counter(), time.process_time(), common.OthersMeter()
        ids, mask, width, lengths, texts, ended = self.generate([r["prompt"] for r in rows], group, True)
        generated = time.perf_counter()
        rewards = torch.tensor(
            [reward(t, e, rows[i // group]["answer"]) for i, (t, e) in enumerate(zip(texts, ended))]
        )
        by_group = rewards.view(-1, group)
        std = by_group.std(1, keepdim=True)
        advantages = ((by_group - by_group.mean(1, keepdim=True)) / (std + 1e-4)).view(-1)
        entropy, loss, norm = self.train(ids, mask, width, lengths, advantages)
        end = time.perf_counter()
        return {
            "step_s": round(end - start, 2),
            "generate_s": round(generated - start, 2),
            "train_s": round(end - generated, 2),
            "reward": round(rewards.mean().item(), 4),
            "mixed_groups": round((std > 0).float().mean().item(), 4),
            "entropy": round(entropy, 4),
            "mean_length": round(lengths.float().mean().item(), 2),
            "ended": round(sum(ended) / len(ended), 4),
            "completion_tokens": int(lengths.sum()),
            "loss": round(loss, 5),
            "grad_norm": round(norm, 4),
            "cpu_s": round(time.process_time() - cpu, 2),
            "others_cores": others.cores(),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="HF directory")
    parser.add_argument("--train", required=True, help="JSONL, used in file order, from its start again at its end")
    parser.add_argument("--eval", required=True, help="JSONL of held-out rows")
    parser.add_argument("--json", help="append the JSON lines to this file")
    parser.add_argument("--steps", type=int, default=70)
    parser.add_argument(
        "--max-seconds", type=float, default=0, help="stop after the step that passes this (0: never)"
    )
    parser.add_argument("--eval-every", type=int, default=10)
    parser.add_argument("--eval-prompts", type=int, default=300)
    parser.add_argument("--eval-batch", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--new", type=int, default=40)
    parser.add_argument("--micro", type=int, default=32, help="sequences a micro-batch in training")
    parser.add_argument("--lr", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    sink = open(args.json, "a", encoding="utf-8") if args.json else None

    def emit(event, **fields):
        line = json.dumps({"case": "reference_grpo", "event": event, **fields, "load": common.load_average()})
        print(line, flush=True)
        if sink:
            sink.write(line + "\n")
            sink.flush()

    try:
        reference = Reference(args)
    except ImportError as error:
        emit("skipped", reason=str(error))
        return
    train_rows, eval_rows = read_rows(args.train), read_rows(args.eval, args.eval_prompts)
    overlap = {r["prompt"] for r in train_rows} & {r["prompt"] for r in eval_rows}
    if overlap:
        raise SystemExit(f"{len(overlap)} held-out prompts are also in the training file, e.g. {min(overlap)!r}")
    emit(
        "start",
        settings={k: v for k, v in vars(args).items() if k not in ("model", "train", "eval", "json")},
        **common.cpu_facts(),
        versions=common.versions("torch", "transformers"),
    )

    began, train_seconds, eval_seconds = time.perf_counter(), 0.0, 0.0

    def evaluate(step):
        nonlocal eval_seconds
        start = time.perf_counter()
        result = reference.evaluate(eval_rows)
        eval_seconds += time.perf_counter() - start
        emit(
            "eval",
            step=step,
            train_seconds=round(train_seconds, 1),
            **result,
            eval_s=round(time.perf_counter() - start, 1),
        )

    evaluate(0)
    done = 0
    for step in range(1, args.steps + 1):
        first = (step - 1) * args.prompts
        rows = [train_rows[(first + i) % len(train_rows)] for i in range(args.prompts)]
        result = reference.step(rows)
        train_seconds += result["step_s"]
        done = step
        emit("step", step=step, train_seconds=round(train_seconds, 1), **result)
        if step % args.eval_every == 0 and step != args.steps:
            evaluate(step)
        if args.max_seconds and time.perf_counter() - began > args.max_seconds:
            break
    evaluate(done)
    emit("end", steps=done, train_seconds=round(train_seconds, 1), eval_seconds=round(eval_seconds, 1))


if __name__ == "__main__":
    sys.exit(main())
