"""``compute_score`` for verl: set ``custom_reward_function.path`` to this file, or import it in your own.

Verl may call it from threads; a right answer does not turn into 0 there.
"""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Union

from r1._checks import run_code, verify_math

_CODE_SOURCES = frozenset({"codecontests", "apps", "codeforces", "taco"})


def _tests(ground_truth: Any) -> list[dict[str, Any]]:
    held = json.loads(ground_truth) if isinstance(ground_truth, str) else ground_truth
    if isinstance(held, Mapping) and "inputs" in held and "outputs" in held:
        if held.get("fn_name"):
            raise ValueError("tests with fn_name do not say how arguments and results are written; "
                             "give them as [{'call': 'f(1, 2)', 'expected': 3}] in extra_info['tests'] or ground_truth")
        if len(held["inputs"]) != len(held["outputs"]):
            raise ValueError(f"{len(held['inputs'])} inputs but {len(held['outputs'])} outputs")
        return [{"input": i, "output": o} for i, o in zip(held["inputs"], held["outputs"])]
    if not isinstance(held, (list, tuple)) or not all(isinstance(t, Mapping) for t in held):
        raise ValueError(f"tests are {held!r:.80}; they must be a list as in r1.run_code or {{'inputs': [...], 'outputs': [...]}}")
    return [dict(t) for t in held]


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Optional[Mapping[str, Any]] = None,
    **options: Any,
) -> dict[str, Union[float, bool, str]]:
    """Score of one completion: ``{"score", "acc", "pred", "verdict", "reason"}``; verl trains on score.

    Code, if ``extra_info`` has "tests" or the data source is codecontests, apps, codeforces or taco: the share of tests
    passed (``pay="all"``: 1 or 0), tests as in r1.run_code or ``{"inputs": [...], "outputs": [...]}``, also as JSON text.
    Everything else is mathematics: 1 if the final answer equals ``ground_truth``, else 0; options as in r1.verify_math.
    ``extra_info["prefill"]``: what the chat template adds after the prompt ("<think>").
    """
    info = extra_info or {}
    tests = info.get("tests")
    if tests is not None or data_source in _CODE_SOURCES:
        pay = options.pop("pay", "fraction")
        if pay not in ("fraction", "all"):
            raise ValueError(f"pay is {pay!r}; one of fraction, all")
        r = run_code(completion=solution_str, tests=_tests(ground_truth if tests is None else tests),
                     language=info.get("language"), **options)
        if r.verdict == "internal_error":  # the judge's own fault must not become a reward
            raise RuntimeError(f"the code judge failed: {r.reason}")
        share = r.passed / r.total if r.total else 0.0
        score = float(r.correct) if pay == "all" or r.correct else share
        return {"score": score, "acc": r.correct, "pred": f"{r.passed}/{r.total}", "verdict": r.verdict, "reason": r.reason}
    gold = ground_truth if isinstance(ground_truth, str) else str(ground_truth)
    m = verify_math(gold, completion=solution_str, prefill=info.get("prefill", ""), **options)
    return {"score": float(m.correct), "acc": m.correct, "pred": m.answer_parsed, "verdict": m.verdict, "reason": m.reason}
