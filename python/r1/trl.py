"""Reward functions for ``trl.GRPOTrainer`` (and RLOO): pass them, or what the makers return, as ``reward_funcs``.

    from r1.trl import accuracy_reward, format_reward, code
    GRPOTrainer(..., reward_funcs=[accuracy_reward, format_reward, code(pay="all")])

They take plain and conversational prompts and completions and the data set's columns. Of a conversational completion the
last assistant message is judged. An entry that cannot be judged (an unreadable gold, tests that are no tests) is None,
which TRL leaves out, and is warned of once; a missing column is an error.
"""

from __future__ import annotations

import json
import warnings
from typing import Any, Mapping, Optional, Sequence, Union

from ._checks import _reward, _text

__all__ = [
    "Reward",
    "accuracy",
    "accuracy_reward",
    "code",
    "code_reward",
    "format",
    "format_reward",
    "language",
    "language_reward",
    "reward",
    "think_format_reward",
]

_LENGTHS = frozenset({"length", "cosine", "overlong", "soft_overlong"})

Messages = Sequence[Mapping[str, Any]]


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None:
        content = ""
    elif not isinstance(content, str):  # parts: [{"type": "text", "text": ...}, ...]
        content = "".join(part.get("text") or "" for part in content)
    thought = message.get("reasoning_content")
    return f"<think>{thought}</think>{content}" if thought else content


def _completion_text(completion: Union[str, Messages], index: int) -> str:
    if isinstance(completion, str):
        return _text(completion, f"completions[{index}]")
    for message in reversed(completion):
        if message.get("role", "assistant") == "assistant":
            return _text(_content(message), f"completions[{index}]")
    return ""


def _prompt_text(prompt: Union[str, Messages, None], index: int) -> str:
    if prompt is None or isinstance(prompt, str):
        return _text(prompt or "", f"prompts[{index}]")
    return _text(_content(prompt[-1]), f"prompts[{index}]") if prompt else ""


def _plain(value: Any) -> Any:
    """A column's value without the empty fields that Arrow adds to entries of unequal form."""
    if isinstance(value, Mapping):
        keep_null = value.get("call") is not None
        return {k: _plain(v) for k, v in value.items() if v is not None or (k == "expected" and keep_null)}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


class Reward:
    """One of the library's rewards as TRL calls it. Can be pickled; holds no state that calls change, but for the
    warnings already given.

    name: a reward's name ("math", "code", "format", "language", "tag_count", "repetition", "length", "cosine", ...).
    reference: the column with the gold answers; None = this reward needs none.
    columns: other columns it reads, by the name the reward knows -> the data set's name.
    prefill: what the chat template adds after the prompt, e.g. "<think>".
    eos_token_id: if given, a completion whose last token is another one counts as cut off.
    max_new_tokens: the trainer's ``max_completion_length``, for rewards that measure against it.
    """

    def __init__(
        self,
        name: str,
        *,
        label: Optional[str] = None,
        reference: Optional[str] = None,
        columns: Optional[Mapping[str, str]] = None,
        prefill: str = "",
        eos_token_id: Union[int, Sequence[int], None] = None,
        max_new_tokens: int = 0,
        threads: int = 0,
        **options: Any,
    ) -> None:
        self.__name__ = label or f"{name}_reward"  # TRL logs under it
        self._name = name
        self._reference = reference
        self._columns = dict(columns or {})
        self._prefill = prefill
        self._eos = None if eos_token_id is None else {eos_token_id} if isinstance(eos_token_id, int) else set(eos_token_id)
        self._max_new_tokens = max_new_tokens
        self._threads = threads
        self._options_json = json.dumps(options, sort_keys=True)
        self._warned = False
        self._counts_tokens = name in _LENGTHS and options.get("unit", "tokens") == "tokens"
        _reward(name, self._options_json, max_new_tokens)  # bad options fail here, not in the run

    def __repr__(self) -> str:
        return f"r1.trl.Reward({self._name!r}, options={self._options_json})"

    def _column(self, name: str, kwargs: Mapping[str, Any], n: int) -> Sequence[Any]:
        values: Optional[Sequence[Any]] = kwargs.get(name)
        if values is None:
            known = ", ".join(sorted(k for k, v in kwargs.items() if isinstance(v, (list, tuple)))) or "none"
            raise ValueError(f"{self.__name__}: the data set has no column '{name}'; columns: {known}")
        if isinstance(values, str) or len(values) != n:
            raise ValueError(f"{self.__name__}: column '{name}' must be a list of {n} entries, one a completion")
        return values

    def __call__(
        self,
        completions: Sequence[Union[str, Messages]],
        prompts: Optional[Sequence[Union[str, Messages]]] = None,
        completion_ids: Optional[Sequence[Sequence[int]]] = None,
        **kwargs: Any,
    ) -> list[Optional[float]]:
        n = len(completions)
        texts = [_completion_text(c, i) for i, c in enumerate(completions)]
        asked = [_prompt_text(p, i) + self._prefill for i, p in enumerate(prompts if prompts is not None else [None] * n)]
        gold = [""] * n
        if self._reference is not None:
            gold = ["" if g is None else _text(g if isinstance(g, str) else str(g), self._reference)
                    for g in self._column(self._reference, kwargs, n)]
        rows: list[dict[str, str]] = [{} for _ in range(n)]
        for known, name in self._columns.items():
            for row, value in zip(rows, self._column(name, kwargs, n)):
                if value is not None:
                    row[known] = json.dumps(_plain(value))
        if completion_ids is None and self._counts_tokens:
            raise ValueError(f"{self.__name__} counts tokens, but the trainer passes no completion_ids")
        stops, tokens = ["eos"] * n, [0] * n
        if completion_ids is not None:
            tokens = [len(ids) for ids in completion_ids]
            if self._eos is not None:
                stops = ["eos" if len(ids) and ids[-1] in self._eos else "length" for ids in completion_ids]
        elif self._eos is not None:
            raise ValueError(f"{self.__name__}: eos_token_id is set, but the trainer passes no completion_ids")
        results = _reward(self._name, self._options_json, self._max_new_tokens).score(
            asked, texts, gold, rows, stops, tokens, self._threads)
        self._report(results, asked, gold, rows, kwargs.get("log_metric"))
        return [value for value, *_ in results]

    def _report(self, results: Any, asked: Sequence[str], gold: Sequence[str], rows: Any, log_metric: Any) -> None:
        abstained = [i for i, (value, *_) in enumerate(results) if value is None]
        if log_metric is not None and results:
            log_metric(f"{self.__name__}/abstained", len(abstained) / len(results))
            log_metric(f"{self.__name__}/unparsed", sum(r[1] == "unparsed" for r in results) / len(results))
        if abstained and not self._warned:
            self._warned = True
            i = abstained[0]
            why = _reward(self._name, self._options_json, self._max_new_tokens).check_prompt(asked[i], gold[i], rows[i])
            warnings.warn(f"{self.__name__}: {len(abstained)} of {len(results)} completions have no reward, "
                          f"e.g. number {i}: {why or results[i][2]}", RuntimeWarning, stacklevel=3)


def reward(name: str, **options: Any) -> Reward:
    """Any reward of the library by its name; see Reward for the arguments."""
    return Reward(name, **options)


def accuracy(column: str = "solution", **options: Any) -> Reward:
    """1 if the completion's final answer equals the gold answer of ``column``, else 0. Options: see r1.verify_math."""
    return Reward("math", label="accuracy_reward", reference=column, **options)


def format(**options: Any) -> Reward:
    """1 for one think block and then one <answer>, else 0. Options: see r1.check_format."""
    return Reward("format", **options)


def language(language: Optional[str] = None, *, column: str = "language", **options: Any) -> Reward:
    """Share of the target language's words in the chain of thought; the language is given here or by a column."""
    if language is not None:
        return Reward("language", language=language, **options)
    return Reward("language", columns={"language": column}, **options)


def code(column: str = "tests", *, language: str = "python", language_column: Optional[str] = None, **options: Any) -> Reward:
    """Share of the tests of ``column`` that the completion's program passes; ``pay="all"``: 1 for all of them, else 0.

    The column holds lists as in r1.run_code, or their JSON text. Raises RuntimeError if this host cannot isolate.
    """
    columns = {"tests": column}
    if language_column is not None:
        columns["language"] = language_column
    return Reward("code", columns=columns, language=language, **options)


accuracy_reward = accuracy()
format_reward = format()
think_format_reward = Reward("format", label="think_format_reward", answer_tag=False)
language_reward = language()
code_reward = code()
