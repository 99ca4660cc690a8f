#!/usr/bin/env python3
"""Makes trl_preference.json and trl_preference/ with TRL's own code: losses of DPO, reward models and distillation, and their gradients.

Part 1 (the JSON): derivatives with respect to what the loss is a function of. DPOTrainer._compute_loss and RewardTrainer.compute_loss run as
they are on a stand-in for the model that returns the fixture's numbers; GKDTrainer.generalized_jsd_loss and the top-K form with a tail bucket
are functions of logits.
Part 2 (trl_preference/): the tiny Llama of trl_tiny in float32, nothing replaced: loss and parameter gradients of one batch of pairs, for DPO
and for a sequence classifier of one label on the same backbone.

    pip install torch==2.11.0 transformers==5.17.0 trl==1.16.0
    python tests/golden/trl_preference.py            # writes beside itself
"""
import json
import pathlib
import tempfile
import types

import torch
import transformers
import trl
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer
from trl.experimental.gkd import GKDTrainer
from trl.experimental.server_distillation.server_distillation_trainer import _add_tail_bucket, _jsd_divergence

from trl_loss import VOCAB, tokenizer

HERE = pathlib.Path(__file__).parent
PAIRS = Dataset.from_dict({"prompt": ["w2 w3"], "chosen": ["w4 w5"], "rejected": ["w6"]})
SHOWN = ("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected")
COMMON = dict(per_device_train_batch_size=4, report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False)


def pairs():
    """Three prompts with a chosen and a rejected answer of unlike lengths: rows [chosen x 3, rejected x 3], padded on the right."""
    g = torch.Generator().manual_seed(21)
    draw = lambda n: torch.randint(2, VOCAB, (n,), generator=g).tolist()
    prompts = [draw(n) for n in (4, 2, 6)]
    answers = [draw(n) for n in (5, 3, 1)] + [draw(n) for n in (2, 6, 4)]
    rows = [(prompts[i % 3], answers[i]) for i in range(6)]
    width = max(len(p) + len(a) for p, a in rows)
    pad = lambda values: values + [0] * (width - len(values))
    inputs = {"input_ids": torch.tensor([pad(p + a) for p, a in rows]),
              "attention_mask": torch.tensor([pad([1] * len(p + a)) for p, a in rows]),
              "completion_mask": torch.tensor([pad([0] * len(p) + [1] * len(a)) for p, a in rows])}
    return rows, inputs


def dpo_trainer(folder, model, **options):
    args = DPOConfig(output_dir=folder, disable_dropout=False, **COMMON, **options)
    made = DPOTrainer(model=model, args=args, train_dataset=PAIRS, processing_class=tokenizer())
    made.precompute_ref_logps = True  # the batch brings the reference's log-probabilities
    made.model.train()
    return made


def tiny():
    return AutoModelForCausalLM.from_pretrained(HERE / "trl_tiny", dtype=torch.float32)


def dpo_cases(folder):
    _, inputs = pairs()
    mask = inputs["completion_mask"][:, 1:].float()
    g = torch.Generator().manual_seed(22)
    base = -(torch.randn(mask.shape, generator=g).abs() + 0.2) * mask
    ref = ((base + torch.randn(mask.shape, generator=g) * 1.5) * mask).sum(1)
    cases = []
    for options in ({"beta": 0.1}, {"beta": 0.7}, {"beta": 0.3, "loss_type": "hinge"}, {"beta": 0.1, "loss_type": "ipo"},
                    {"beta": 0.5, "loss_type": "ipo"}):
        made = dpo_trainer(folder, tiny(), **options)
        leaf = base.clone().requires_grad_(True)

        def stand_in(**_):
            zero = torch.zeros_like(leaf)
            return types.SimpleNamespace(log_probs=leaf * mask, entropy=zero, mean_logits=zero, is_top1=zero.bool())

        loss = made._compute_loss(stand_in, {**inputs, "ref_chosen_logps": ref[:3], "ref_rejected_logps": ref[3:]}, False)
        loss.backward()
        sums = (base * mask).sum(1)
        # each token of an answer has the same gradient: that of the answer's sum
        gradient = [(leaf.grad[i][mask[i].bool()]).mean().item() for i in range(6)]
        cases.append({**options, "loss": loss.item(), "gradient": gradient, "metrics": {k: made._metrics["train"][k][-1] for k in SHOWN}})
    return {"logps": sums.tolist(), "ref": ref.tolist(), "tokens": mask.sum(1).long().tolist(), "cases": cases}


def reward_trainer(folder, model, **options):
    args = RewardConfig(output_dir=folder, disable_dropout=False, **COMMON, **options)
    made = RewardTrainer(model=model, args=args, train_dataset=PAIRS.remove_columns("prompt"), processing_class=tokenizer())
    made.model.train()
    return made


def scorer():
    model = AutoModelForSequenceClassification.from_pretrained(HERE / "trl_tiny", dtype=torch.float32, num_labels=1, pad_token_id=0)
    g = torch.Generator().manual_seed(23)
    with torch.no_grad():
        model.score.weight.copy_(torch.randn(1, model.config.hidden_size, generator=g) * 0.4)
    return model


def reward_cases(folder):
    scores = torch.tensor([0.4, -1.2, 3.0, 0.1, 0.9, -0.5])
    cases = []
    for centring in (None, 0.01, 0.5):
        made = reward_trainer(folder, scorer(), center_rewards_coefficient=centring)
        leaf = scores.clone().requires_grad_(True)
        loss = made.compute_loss(lambda **_: types.SimpleNamespace(logits=leaf[:, None]), {"attention_mask": torch.ones(6, 1)})
        loss.backward()
        metrics = {k: made._metrics["train"][k][-1] for k in ("min_reward", "mean_reward", "max_reward", "accuracy", "margin")}
        cases.append({"centring": centring or 0.0, "loss": loss.item(), "gradient": leaf.grad.tolist(), "metrics": metrics})
    labels = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    leaf = scores.clone().requires_grad_(True)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(leaf, labels)
    loss.backward()
    point = {"labels": labels.tolist(), "loss": loss.item(), "gradient": leaf.grad.tolist()}
    return {"scores": scores.tolist(), "cases": cases, "pointwise": point}


def distill_cases():
    g = torch.Generator().manual_seed(24)
    tokens, vocab = 3, 11
    student, teacher = torch.randn(1, tokens, vocab, generator=g) * 2, torch.randn(1, tokens, vocab, generator=g) * 2
    cases = []
    for beta in (0.0, 0.1, 0.5, 0.9, 1.0):
        for temperature in (1.0, 0.7, 2.0):
            leaf = student.clone().requires_grad_(True)
            loss = GKDTrainer.generalized_jsd_loss(leaf, teacher, labels=torch.zeros(1, tokens, dtype=torch.long), beta=beta,
                                                   temperature=temperature, num_items_in_batch=tokens)
            loss.backward()
            cases.append({"beta": beta, "temperature": temperature, "loss": loss.item(), "gradient": leaf.grad[0].tolist()})
    top_k = []
    for beta in (0.0, 0.5, 1.0):
        leaf = student.double().clone().requires_grad_(True)
        log_p, log_q = teacher.double().log_softmax(-1), leaf.log_softmax(-1)
        kept, ids = log_p.topk(4, -1)
        valid = torch.ones_like(ids, dtype=torch.bool)
        q, support = _add_tail_bucket(log_q.gather(-1, ids), valid)
        p, _ = _add_tail_bucket(kept, valid)
        loss = _jsd_divergence(q, p, beta, support).sum() / tokens
        loss.backward()
        top_k.append({"beta": beta, "k": 4, "loss": loss.item(), "gradient": leaf.grad[0].tolist()})
    return {"student": student[0].tolist(), "teacher": teacher[0].tolist(), "cases": cases, "top_k": top_k}


def model_cases(folder):
    out_dir = HERE / "trl_preference"
    out_dir.mkdir(exist_ok=True)
    rows, inputs = pairs()
    g = torch.Generator().manual_seed(25)
    ref = -torch.rand(6, generator=g) * 20
    made = dpo_trainer(folder, tiny(), beta=0.1)
    loss = made._compute_loss(made.model, {**inputs, "ref_chosen_logps": ref[:3], "ref_rejected_logps": ref[3:]}, False)
    loss.backward()
    tensors = {f"dpo.{n}": p.grad.clone() for n, p in made.model.named_parameters()}
    dpo = {"beta": 0.1, "ref": ref.tolist(), "loss": loss.item(), "metrics": {k: made._metrics["train"][k][-1] for k in SHOWN}}
    made = reward_trainer(folder, scorer(), center_rewards_coefficient=0.01)
    batch = {k: inputs[k] for k in ("input_ids", "attention_mask")}
    with torch.no_grad():
        scores = made.model(**batch).logits[:, 0].tolist()
    loss = made.compute_loss(made.model, dict(batch))
    loss.backward()
    tensors.update({f"reward.{n}": p.grad.clone() for n, p in made.model.named_parameters()})
    tensors["score.weight"] = made.model.score.weight.detach().clone()
    save_file(tensors, out_dir / "gradients.safetensors")
    return {"rows": [{"prompt": p, "answer": a} for p, a in rows], "dpo": dpo,
            "reward": {"centring": 0.01, "scores": scores, "loss": loss.item()}}


if __name__ == "__main__":
    assert trl.__version__ == "1.16.0" and transformers.__version__ == "5.17.0", "the fixture is pinned to these versions"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        out = {"versions": {"trl": trl.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
               "dpo": dpo_cases(work), "reward": reward_cases(work), "distill": distill_cases(), "model": model_cases(work)}
    (HERE / "trl_preference.json").write_text(json.dumps(out) + "\n")
