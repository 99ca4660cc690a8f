"""The four checkers as functions of one completion."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Mapping, Optional, Sequence

from . import _core


@dataclass(frozen=True)
class MathResult:
    """What the maths checker says. True in a condition if the answer is right."""

    correct: bool
    verdict: str  # "equal", "different", "undecided"
    proved: bool  # False: probable only
    gold_parsed: str
    answer_parsed: str
    reason: str

    def __bool__(self) -> bool:
        return self.correct


@dataclass(frozen=True)
class CodeResult:
    """What the judge says. True in a condition if every test passed."""

    correct: bool
    verdict: str  # "accepted", "wrong_answer", "runtime_error", "time_limit", "memory_limit", "output_limit", ...
    passed: int
    total: int
    cpu_ms: int  # sum over the tests
    wall_ms: int
    memory_kb: int  # the largest
    reason: str

    def __bool__(self) -> bool:
        return self.correct


@dataclass(frozen=True)
class FormatResult:
    """What the format check says. True in a condition if the form is right."""

    correct: bool
    score: float
    reason: str  # "ok" or the first fault

    def __bool__(self) -> bool:
        return self.correct


@dataclass(frozen=True)
class LanguageResult:
    """Share of words of the target language. It has no truth value: compare ``score``."""

    score: float  # target / (target + other - allowance); 0 if not defined
    defined: bool  # False: too few words to say
    target_words: int
    other_words: int
    unsure_words: int
    others: dict[str, int]  # words of other languages, by language or script

    def __bool__(self) -> bool:
        raise TypeError("a LanguageResult is neither true nor false; compare its score")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r:.60}, a {type(value).__name__}; it must be a str")
    try:
        value.encode()
    except UnicodeEncodeError:  # halves of surrogate pairs, as byte-level decoders may leave
        return value.encode("utf-8", "replace").decode()
    return value


@lru_cache(maxsize=256)
def _reward(name: str, options_json: str, max_new_tokens: int = 0) -> _core.Reward:
    return _core.Reward(name, options_json, max_new_tokens)


def _one(
    name: str, options: Mapping[str, Any], completion: str, prefill: str, reference: str = "", stop: str = "eos"
) -> tuple[Optional[float], str, str, dict[str, str]]:
    reward = _reward(name, json.dumps(options, sort_keys=True))
    return reward.score([_text(prefill, "prefill")], [_text(completion, "completion")], [reference], [{}], [stop], [0], 1)[0]


def verify_math(
    gold: str, answer: Optional[str] = None, *, completion: Optional[str] = None, prefill: str = "", **options: Any
) -> MathResult:
    r"""Does an answer mean the same as the gold answer?

    gold: the reference as data sets have it: ``"72"``, ``"... #### 72"``, ``r"... \boxed{\frac12}"``.
    answer: the answer alone. Or completion: a whole text, from which the answer is extracted (after ``</think>``: the
        last ``\boxed{}``, ``<answer>``, "the answer is ...", the last number).
    prefill: what the prompt ended with; ``"<think>"`` makes the completion begin inside the block.
    options: ``strict`` (False), ``rounding_digits`` (3; 0 = decimals must be exact), ``percent`` ("unit", "fraction",
        "either"), ``units`` ("check", "ignore", "require"), ``relation_answers`` (False), ``bases`` ("written", "value");
        with a completion also ``extract``, ``require_end``, ``after_think``, ``several_boxes``.

    >>> verify_math(r"\frac{1}{2}", "0.5").verdict
    'equal'
    """
    gold = _text(gold, "gold")
    if (answer is None) == (completion is None):
        raise TypeError("give one of answer (the answer alone) and completion (a whole text)")
    if answer is not None:
        if prefill:
            raise TypeError("prefill has no effect on an answer alone")
        text = json.dumps(options, sort_keys=True) if options else ""
        verdict, proved, gold_read, answer_read, reason = _core.check_math(gold, _text(answer, "answer"), text)
        return MathResult(verdict == "equal", verdict, proved, gold_read, answer_read, reason)
    assert completion is not None
    value, word, detail, columns = _one("math", options, completion, prefill, gold)
    if value is None:
        raise ValueError(f"the gold {gold!r:.60} holds no answer to compare with")
    return MathResult(
        correct=word == "ok",
        verdict=columns.get("answer_verdict", "different"),
        proved=columns.get("answer_proof") == "proved",
        gold_parsed=columns.get("gold_parsed", ""),
        answer_parsed=columns.get("answer_parsed", ""),
        reason=detail,
    )


def run_code(
    program: Optional[str] = None,
    tests: Sequence[Mapping[str, Any]] = (),
    *,
    completion: Optional[str] = None,
    language: Optional[str] = None,
    tolerance: float = 0.0,
    limits: Optional[Mapping[str, int]] = None,
) -> CodeResult:
    """Runs a program against tests, each in a sandbox of its own.

    program: source text. Or completion: a text whose last closed code block (after ``</think>``) is the program.
    tests: ``{"input": stdin, "output": stdout}``, ``{"call": "solve(1, 2)", "expected": 3}`` or ``{"asserts": code}``.
    language: "python" (default for a program; a completion's fence names it), "cpp", "c", "javascript", ...
    limits: ``wall_ms``, ``cpu_ms``, ``memory_mb``, ``processes``, ``file_mb``, ``output_kb``, of each test.

    Raises RuntimeError if this host cannot isolate programs: there is no way to run them without.
    """
    if (program is None) == (completion is None):
        raise TypeError("give one of program (source text) and completion (a text with a code block)")
    request: dict[str, Any] = {"tests": [dict(t) for t in tests], "tolerance": tolerance}
    if program is not None:
        request["program"] = _text(program, "program")
    else:
        request["completion"] = _text(completion, "completion")
    if language is not None:
        request["language"] = language
    if limits is not None:
        request["limits"] = dict(limits)
    reply = json.loads(_core.run_code(json.dumps(request)))
    if "error" in reply:
        raise ValueError(reply["error"])
    return CodeResult(
        correct=reply["correct"],
        verdict=reply["verdict"],
        passed=reply["passed"],
        total=reply["total"],
        cpu_ms=reply.get("cpu_ms", 0),
        wall_ms=reply.get("wall_ms", 0),
        memory_kb=reply.get("memory_kb", 0),
        reason=reply["reason"],
    )


def check_format(completion: str, *, prefill: str = "", stop: str = "eos", **options: Any) -> FormatResult:
    """Is a completion one think block, then one answer?

    prefill: what the prompt ended with; ``"<think>"`` makes the completion begin inside the block.
    stop: why the completion ended: "eos", "stop" (a stop string), "length", "aborted". A cut-off completion earns 0.
    options: ``answer_tag`` (True; False = the rest of the text is the answer), ``partial`` (False; quarter steps),
        ``code_spans`` (True), ``stop_closes_answer`` (False).
    """
    value, _, detail, _ = _one("format", options, completion, prefill, stop=stop)
    return FormatResult(correct=detail == "ok", score=value if value is not None else 0.0, reason=detail)


def language_consistency(completion: str, language: str, *, prefill: str = "", **options: Any) -> LanguageResult:
    """Share of the words of ``language`` ("en", "zh", "German", ...) in the chain of thought.

    Code, formulas, links, numbers and names count as no language. Without a think block the whole text is measured.
    options: ``region`` ("think", "answer", "all"), ``allowance`` (0.02), ``min_words`` (5), ``detector`` ("auto",
        "cld2", "none").
    """
    value, _, detail, columns = _one("language", {"language": language, **options}, completion, prefill)
    others = (entry.rsplit(":", 1) for entry in columns["other_languages"].split())
    return LanguageResult(
        score=value if value is not None else 0.0,
        defined=detail == "ok",
        target_words=int(columns["target_words"]),
        other_words=int(columns["other_words"]),
        unsure_words=int(columns["unsure_words"]),
        others={label: int(words) for label, words in others},
    )


def sandbox_guarantees() -> list[str]:
    """Which walls this host gives to judged programs, a line each."""
    return _core.sandbox_guarantees()


def sandbox_problem() -> str:
    """Why this host cannot isolate programs, so that run_code would raise; empty if it can."""
    return _core.sandbox_problem()
