#!/usr/bin/env python3
"""Makes rl_objectives.json: losses and gradients of the other policy objectives on one fixed batch.

TRL's own code where TRL has the objective (its _compute_loss runs as it is, as in trl_loss.py). The others are the published
formulas, written here in PyTorch from the papers and differentiated by autograd: GMPO (2507.20673), GSPO-token (2507.18071),
Clip-Cov and KL-Cov (2505.22617), mismatch corrections (verl's rollout-correction notes), PPO's GAE, whitening and value loss
(1506.02438, 1707.06347), process advantages (2402.03300), GDPO (2601.05242).

    pip install torch==2.11.0 transformers==5.17.0 trl==1.16.0
    python tests/golden/rl_objectives.py            # writes beside itself
"""
import json
import pathlib
import tempfile

import torch
import transformers
import trl

from trl_loss import BUDGET, LENGTH, batch, trainer

HERE = pathlib.Path(__file__).parent
D = torch.float64


def trl_cases(folder, inputs, logps, old, behavior, entropies):
    cases = []
    variants = [("sapo", {}), ("sapo", {"sapo_temperature_pos": 2.0, "sapo_temperature_neg": 3.0}), ("grpo", {"off_policy_mask_threshold": 0.05}),
                ("dapo", {"top_entropy_quantile": 0.4}), ("grpo", {"delta": 4.0, "epsilon": 0.1}), ("vespo", {})]
    for kind, options in variants:
        made = trainer(folder, kind, 0.0, **dict(options))
        leaf = logps.clone().requires_grad_(True)
        made._get_per_token_logps_and_entropies = lambda *a, **k: (leaf, entropies, None)
        loss = made._compute_loss(made.model, {**inputs, "old_per_token_logps": old, "sampling_per_token_logps": behavior})
        loss.backward()
        cases.append({"loss_type": kind, "options": options, "loss": loss.item(), "gradient": leaf.grad.tolist()})
    return cases


def masked_mean(x, mask):
    return (x * mask).sum() / mask.sum()


def sequence_mean(per_token, mask):  # mean over answers of the mean over tokens
    return ((per_token * mask).sum(1) / mask.sum(1)).mean()


def clip_objective(ratio, a, low, high):
    return torch.minimum(ratio * a, ratio.clamp(1 - low, 1 + high) * a)


def gmpo(lp, old, a, mask, low, high):
    x, s = lp - old, torch.sign(a)
    held = s * torch.minimum(s * x, s * x.clamp(-low, high))
    ratio = torch.exp((held * mask).sum(1) / mask.sum(1))
    return -(ratio * masked_rows(a, mask)).mean()


def masked_rows(x, mask):
    return (x * mask).sum(1) / mask.sum(1)


def gspo_token(lp, old, a, mask, low, high):
    level = masked_rows(lp - old, mask).detach().unsqueeze(1)
    ratio = torch.exp(level + lp - lp.detach())
    return -sequence_mean(clip_objective(ratio, a, low, high), mask)


def covariance(lp, a, mask):
    return ((lp - masked_mean(lp, mask)) * (a - masked_mean(a, mask))).detach()


def clip_cov(lp, old, a, mask, low, high, cov_low, cov_high):
    """With a share so large that every candidate is taken: nothing is drawn."""
    ratio = torch.exp(lp - old)
    inside, clipped = -a * ratio, -a * ratio.clamp(1 - low, 1 + high)
    cov = covariance(lp, a, mask)
    chosen = (cov > cov_low) & (cov < cov_high) & ~(clipped > inside) & mask.bool()
    return masked_mean(torch.maximum(inside, clipped) * (~chosen), mask), int(chosen.sum())


def kl_cov(lp, old, a, mask, share, penalty):
    x = lp - old
    cov = covariance(lp, a, mask).masked_fill(mask == 0, -torch.inf)
    k = max(1, int(mask.sum().item() * share))
    chosen = torch.zeros_like(lp).flatten()
    chosen[torch.topk(cov.flatten(), k).indices] = 1
    return masked_mean(-a * torch.exp(x) + chosen.view_as(lp) * penalty * x.abs(), mask), k


def mismatch_weights(name, log_w, mask, floor, cap):
    w = torch.exp(log_w)
    whole = torch.exp((log_w * mask).sum(1, keepdim=True)).expand_as(w)
    mean = torch.exp(masked_rows(log_w, mask)).unsqueeze(1).expand_as(w)
    k3 = masked_rows(w - log_w - 1, mask).unsqueeze(1).expand_as(w)
    keep = lambda x: ((x >= floor) & (x <= cap))
    return {"token_tis": lambda: w.clamp(floor, cap), "sequence_tis": lambda: whole.clamp(floor, cap), "token_mis": lambda: w * keep(w),
            "sequence_mis": lambda: whole * keep(whole), "geometric_mask": lambda: keep(mean).to(D),
            "k3_mask": lambda: (k3 <= cap).to(D)}[name]()


def mismatch_loss(name, lp, old, behavior, a, mask, floor, cap, normalize):
    w = mismatch_weights(name, old - behavior, mask, floor, cap)
    if normalize:
        per_answer = name not in ("token_tis", "token_mis")
        w = w / (masked_rows(w, mask).mean() if per_answer else masked_mean(w, mask))
    return masked_mean(-clip_objective(torch.exp(lp - old), a, 0.2, 0.2) * w, mask)


def formula_cases(mask, advantages, logps, old, behavior):
    mask, a = mask.to(D), advantages.to(D).unsqueeze(1).expand(-1, LENGTH)
    old, behavior = old.to(D), behavior.to(D)
    cases = []

    def add(name, options, objective):
        leaf = logps.to(D).requires_grad_(True)
        result = objective(leaf)
        loss, extra = result if isinstance(result, tuple) else (result, None)
        loss.backward()
        cases.append({"name": name, "options": options, "loss": loss.item(), "gradient": leaf.grad.tolist(), "chosen": extra})

    add("gmpo", {"low": 0.4, "high": 0.4}, lambda lp: gmpo(lp, old, a, mask, 0.4, 0.4))
    add("gmpo", {"low": 0.1, "high": 0.15}, lambda lp: gmpo(lp, old, a, mask, 0.1, 0.15))
    add("gspo_token", {"low": 0.05, "high": 0.06}, lambda lp: gspo_token(lp, old, a, mask, 0.05, 0.06))
    add("clip_cov", {"low": 0.2, "high": 0.2, "cov_low": 0.1, "cov_high": 0.9}, lambda lp: clip_cov(lp, old, a, mask, 0.2, 0.2, 0.1, 0.9))
    add("kl_cov", {"share": 0.3, "penalty": 1.0}, lambda lp: kl_cov(lp, old, a, mask, 0.3, 1.0))
    for name, floor, cap in [("token_tis", 0.0, 2.0), ("token_tis", 0.8, 1.2), ("sequence_tis", 0.0, 2.0), ("token_mis", 0.5, 2.0),
                             ("token_mis", 0.9, 1.2), ("sequence_mis", 0.0, 1.0), ("geometric_mask", 0.9, 1.1), ("k3_mask", 0.0, 0.02)]:
        for normalize in (False, True):
            add("mismatch", {"method": name, "floor": floor, "cap": cap, "normalize": normalize},
                lambda lp: mismatch_loss(name, lp, old, behavior, a, mask, floor, cap, normalize))
    return cases


def ppo_case(mask, advantages, old, ref):
    """Token rewards, GAE, whitening and the clipped value loss, in the order of PPO for language models."""
    g = torch.Generator().manual_seed(23)
    mask = mask.to(D)
    draw = lambda: torch.randn(mask.shape, generator=g, dtype=D) * 0.4
    values, now = draw(), draw()
    gamma, lam, beta, clip = 0.99, 0.9, 0.05, 0.2
    rewards = -beta * (old - ref).to(D) * mask
    lengths = mask.sum(1).long()
    for row, n in enumerate(lengths):
        rewards[row, n - 1] += advantages[row]
    adv = torch.zeros_like(rewards)
    for row, n in enumerate(lengths):
        after_value, after = 0.0, 0.0
        for t in reversed(range(int(n))):
            after = rewards[row, t] + gamma * after_value - values[row, t] + gamma * lam * after
            adv[row, t], after_value = after, values[row, t]
    returns = (adv + values) * mask
    mean = masked_mean(adv, mask)
    std = (((adv - mean) ** 2 * mask).sum() / (mask.sum() - 1)).sqrt()
    leaf = now.clone().requires_grad_(True)
    held = torch.maximum(torch.minimum(leaf, values + clip), values - clip)
    loss = 0.5 * masked_mean(torch.maximum((leaf - returns) ** 2, (held - returns) ** 2), mask)
    loss.backward()
    return {"gamma": gamma, "lambda": lam, "beta": beta, "clip": clip, "values": values.tolist(), "values_now": now.tolist(),
            "advantages": (adv * mask).tolist(), "whitened": ((adv - mean) / (std + 1e-6) * mask).tolist(), "returns": returns.tolist(),
            "loss": loss.item(), "gradient": leaf.grad.tolist()}


def gdpo_case():
    """Two groups of three answers with three rewards; NaN = the reward abstained. TRL's normalize_then_sum, with its epsilon."""
    rewards = torch.tensor([[1, 0.2, 5], [0, 0.2, 3], [1, 0.9, float("nan")], [0, 0.1, 2], [0, 0.4, 2], [0, 0.7, 2]], dtype=D)
    weights, eps = torch.tensor([1.0, 0.5, 2.0], dtype=D), 1e-4
    grouped = rewards.view(2, 3, 3)
    known = ~grouped.isnan()
    filled = grouped.nan_to_num(0)
    n = known.sum(1, keepdim=True)
    mean = filled.sum(1, keepdim=True) / n
    std = (((filled - mean) ** 2 * known).sum(1, keepdim=True) / (n - 1)).sqrt()
    z = ((filled - mean) / (std + eps) * known).view(6, 3)
    total = (z * weights).sum(1)
    advantages = (total - total.mean()) / (total.std() + eps)
    return {"rewards": [[None if x != x else x for x in row] for row in rewards.tolist()], "weights": weights.tolist(), "epsilon": eps,
            "sums": total.tolist(), "advantages": advantages.tolist()}


def process_case():
    """Three answers of one group with step rewards at the tokens that end a step."""
    steps = [[(1, 0.9), (4, 0.2)], [(0, 0.5)], [(2, 0.1), (3, 0.8), (6, 0.7)]]
    lengths, eps = [6, 3, 7], 1e-6
    values = torch.tensor([v for one in steps for _, v in one], dtype=D)
    mean, std = values.mean(), values.std()
    advantages = [[sum((v - mean.item()) / (std.item() + eps) for end, v in one if end >= t) for t in range(n)] for one, n in zip(steps, lengths)]
    return {"steps": steps, "lengths": lengths, "epsilon": eps, "advantages": advantages}


if __name__ == "__main__":
    assert trl.__version__ == "1.16.0" and transformers.__version__ == "5.17.0", "the fixture is pinned to these versions"
    torch.set_num_threads(1)
    inputs, logps, old, ref = batch()
    g = torch.Generator().manual_seed(19)
    behavior = old + torch.randn(old.shape, generator=g) * 0.2
    entropies = torch.rand(old.shape, generator=g) * 2
    mask, advantages = inputs["completion_mask"], inputs["advantages"]
    with tempfile.TemporaryDirectory() as work:
        from_trl = trl_cases(work, inputs, logps, old, behavior, entropies)
    vespo = from_trl.pop()
    out = {"versions": {"trl": trl.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
           "max_completion_length": BUDGET, "mask": mask.tolist(), "advantages": advantages.tolist(), "logps": logps.tolist(),
           "old_logps": old.tolist(), "ref_logps": ref.tolist(), "behavior_logps": behavior.tolist(), "entropies": entropies.tolist(),
           "trl": from_trl, "vespo": vespo, "formulas": formula_cases(mask, advantages, logps, old, behavior),
           "ppo": ppo_case(mask, advantages, old, ref), "gdpo": gdpo_case(), "process": process_case()}
    (HERE / "rl_objectives.json").write_text(json.dumps(out) + "\n")
