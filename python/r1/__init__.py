"""Verifiers for reinforcement learning: maths, code, language and format.

Every function may be called from any thread, releases the interpreter lock while it works, uses no signals and no
worker processes of Python, and gives equal results for equal input. Wrong input (an unreadable gold, an unknown option)
raises ValueError; a wrong answer is a result.

For trainers: ``r1.trl`` (reward functions of TRL) and ``r1.verl`` (``compute_score``).
"""

from ._checks import (
    CodeResult,
    FormatResult,
    LanguageResult,
    MathResult,
    check_format,
    language_consistency,
    run_code,
    sandbox_guarantees,
    sandbox_problem,
    verify_math,
)

__all__ = [
    "CodeResult",
    "FormatResult",
    "LanguageResult",
    "MathResult",
    "check_format",
    "language_consistency",
    "run_code",
    "sandbox_guarantees",
    "sandbox_problem",
    "verify_math",
]
