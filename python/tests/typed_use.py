"""A user's program that type checkers read (install_test.sh); the wrong calls are marked, and must be errors."""

from typing import Optional

import r1
import r1.trl
import r1.verl

m: r1.MathResult = r1.verify_math("1/2", "0.5", rounding_digits=0)
correct: bool = m.correct
code: r1.CodeResult = r1.run_code("print(1)", [{"input": "", "output": "1"}], limits={"wall_ms": 1000})
score: float = r1.language_consistency("a", "en").score
reason: str = r1.check_format("a", prefill="<think>").reason
rewards: list[Optional[float]] = r1.trl.accuracy_reward(completions=["1"], solution=["1"])
names: list[r1.trl.Reward] = [r1.trl.accuracy(), r1.trl.code(pay="all"), r1.trl.language("en"), r1.trl.format()]
verl_score = r1.verl.compute_score("gsm8k", "1", "1")["score"]

r1.verify_math(1, "1")  # type: ignore[arg-type]
wrong: int = r1.check_format("a").reason  # type: ignore[assignment]
