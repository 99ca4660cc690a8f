#!/usr/bin/env python3
"""Makes eval_statistics.json: the statistics of evaluations by independent code (scipy, numpy, brute force).

    pip install numpy scipy
    python tests/golden/eval_statistics.py        # writes beside itself
"""
import itertools
import json
import math
import pathlib

import numpy as np
import scipy
from scipy import optimize, stats

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20261130)


def pass_at_k_by_subsets(n, c, k):
    """Share of the k-subsets of n samples, c of them right, with at least one right sample: counted, not a formula."""
    subsets = list(itertools.combinations(range(n), k))
    return sum(any(i < c for i in s) for s in subsets) / len(subsets)


def elo_fit(games):
    """Maximum of the likelihood by a general optimiser and its curvature by differences."""
    opponents, scores = np.array([g[0] for g in games]), np.array([g[1] for g in games])

    def loss(r):
        log_e = -np.log1p(10 ** ((opponents - r) / 400))
        log_not = -np.log1p(10 ** ((r - opponents) / 400))
        return -float(np.sum(scores * log_e + (1 - scores) * log_not))

    fit = optimize.minimize_scalar(loss, bracket=(1000, 2000), tol=1e-12)
    h = 1.0
    curvature = (loss(fit.x + h) - 2 * loss(fit.x) + loss(fit.x - h)) / h**2
    return fit.x, 1 / math.sqrt(curvature)


out = {"made_with": f"numpy {np.__version__}, scipy {scipy.__version__}"}
out["pass_at_k"] = [{"n": n, "c": c, "k": k, "value": pass_at_k_by_subsets(n, c, k)} for n in (1, 4, 9, 12) for c in sorted({0, 1, n // 2, n}) for k in sorted({1, 2, n // 2 or 1, n}) if k <= n]
out["mcnemar"] = [{"only_a": b, "only_b": c, "p": float(stats.binomtest(min(b, c), b + c, 0.5).pvalue) if b + c else 1.0} for b, c in [(0, 0), (0, 1), (1, 5), (3, 3), (10, 22), (40, 77), (150, 152)]]
out["wilson"] = []
for successes, n in [(0, 30), (7, 30), (30, 30), (441, 660)]:
    ci = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    out["wilson"].append({"successes": successes, "n": n, "low": float(ci.low), "high": float(ci.high)})

# Sign-flip permutation: exact for few items, a normal limit's neighbourhood for many.
out["permutation"] = []
for size in (3, 8, 14, 60):
    d = np.round(rng.normal(0.15, 0.4, size), 2)
    if size == 8:
        d[:3] = 0
    exact = size <= 14
    r = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf if exact else 200_000, rng=np.random.default_rng(1))
    out["permutation"].append({"differences": d.tolist(), "p": float(r.pvalue), "exact": exact})

# Standard errors over items: the definition with ddof = 1, and the mean of simulated repetitions for fixed items.
k, items = 8, 40
p = rng.beta(1, 1, items)
right = rng.binomial(k, p)
shares = right / k
out["errors"] = {"right": right.tolist(), "samples": k, "standard_error": float(stats.sem(shares)), "sampling_error": float(math.sqrt(sum(np.var([1] * c + [0] * (k - c), ddof=1) / k for c in right)) / items)}
# The estimator's expectation is the real spread of pass@1 when the same items are sampled again.
again = rng.binomial(k, p, size=(20_000, items)).mean(axis=1) / k
out["errors"]["true_spread"] = float(again.std())
out["errors"]["probabilities"] = p.tolist()

# The golden paired test: two models on 120 items, 4 samples each, B a little better, items shared.
difficulty = rng.normal(0, 1.2, 120)
a = rng.binomial(4, 1 / (1 + np.exp(difficulty))) / 4
b = rng.binomial(4, 1 / (1 + np.exp(difficulty - 0.6))) / 4
d = b - a
boot = stats.bootstrap((d,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)).confidence_interval
test = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=200_000, rng=np.random.default_rng(3))
out["paired"] = {"a": a.tolist(), "b": b.tolist(), "difference": float(d.mean()), "standard_error": float(stats.sem(d)), "low": float(boot.low), "high": float(boot.high),
                 "p": float(test.pvalue), "correlation": float(np.corrcoef(a, b)[0, 1]), "smallest_detectable": float((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * stats.sem(d))}
# The same, greedy: right or wrong.
ga, gb = (rng.random(120) < 1 / (1 + np.exp(difficulty))).astype(int), (rng.random(120) < 1 / (1 + np.exp(difficulty - 1.0))).astype(int)
only_a, only_b = int(((ga == 1) & (gb == 0)).sum()), int(((ga == 0) & (gb == 1)).sum())
out["paired_greedy"] = {"a": ga.tolist(), "b": gb.tolist(), "only_a": only_a, "only_b": only_b, "p": float(stats.binomtest(min(only_a, only_b), only_a + only_b).pvalue)}

# Elo: two contests of 30 and a set of problems.
games = []
for contest, true in ((0, 1700), (1, 1700)):
    ratings = np.round(rng.normal(1500, 300, 30))
    won = rng.random(30) < 1 / (1 + 10 ** ((ratings - true) / 400))
    games += [[float(r), float(w), contest] for r, w in zip(ratings, won)]
rating, error = elo_fit(games)
out["elo"] = {"games": games, "rating": float(rating), "standard_error": float(error)}

(HERE / "eval_statistics.json").write_text(json.dumps(out, indent=1) + "\n")
