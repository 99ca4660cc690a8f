"""Two rewards with TRL's signature: f(prompts, completions, completion_ids, **columns) -> list[float | None]."""
import re


def brevity(completions, **kwargs):
    """1 for an empty completion, falling by 0.01 a word, never below 0."""
    return [max(0.0, 1 - 0.01 * len(text.split())) for text in completions]


def agrees_with_group(completions, answer, log_extra, log_metric, **kwargs):
    """1 where the answer is the group's most frequent one: a reward that needs all completions of a prompt at once.

    A completion without an answer abstains. `answer` is the data's column of that name, once for each completion.
    """
    found = [re.findall(r"<answer>(.*?)</answer>", text, re.S) for text in completions]
    answers = [tags[-1].strip() if tags else None for tags in found]
    given = [a for a in answers if a is not None]
    log_extra("answer_found", [a or "" for a in answers])  # a column of the tables
    log_metric("answers_given", len(given) / len(answers) if answers else 0)  # a curve of the run
    if not given:
        return [None] * len(completions)
    most = max(set(given), key=lambda a: (given.count(a), a))
    return [None if a is None else float(a == most) for a in answers]
