#!/usr/bin/env python3
"""Makes ifeval_rules.json: verdicts of IFEval's own rules, as lm-evaluation-harness carries them, on made-up responses.

    pip install lm-eval==0.4.13 langdetect immutabledict nltk
    python tests/golden/ifeval_rules.py        # writes beside itself

Sentence counting is left out (NLTK's punkt is a download); word tokens are NLTK's without its sentence splitting.
"""
import json
import pathlib
import random

import nltk

nltk.data.find = lambda name: name
from lm_eval.tasks.ifeval import instructions, instructions_registry, instructions_util  # noqa: E402

tokenizer = nltk.tokenize.NLTKWordTokenizer()
instructions_util.nltk.word_tokenize = lambda text: tokenizer.tokenize(text)

HERE = pathlib.Path(__file__).parent
rng = random.Random(20261130)
WORDS = "the river runs under an old bridge and we walk home before night falls over quiet fields while children sing near water Tree STONE LIGHT Moon cat's".split()


def sentence():
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 9))) + rng.choice([".", "!", "?", ", then.", "..."])


def response():
    parts = []
    for _ in range(rng.randint(1, 4)):
        kind = rng.randint(0, 11)
        s = sentence()
        parts.append([s, "* " + s + "\n* " + sentence(), "- " + s, "**" + s + "** and *" + sentence() + "*", "<<" + s + ">>", "[name] " + s + " [place]", "SECTION %d\n%s" % (rng.randint(1, 3), s),
                      "P.S. " + s, '{"a": [1, 2]}', "My answer is " + rng.choice(["yes.", "no.", "maybe.", "unclear."]), s.upper(), s.lower()][kind])
    text = rng.choice(["\n", "\n\n", "\n***\n", "\n******\n", " "]).join(parts)
    return rng.choice([text, text, '"' + text + '"', text + "\nAny questions?", "```json\n" + text + "\n```", " " + text + " "])


ARGUMENTS = {
    "keywords:existence": lambda: {"keywords": rng.sample(["river", "moon", "stone", "bridge"], 2)},
    "keywords:frequency": lambda: {"keyword": rng.choice(["the", "tree", "an"]), "frequency": rng.randint(1, 4), "relation": rng.choice(["at least", "less than"])},
    "keywords:forbidden_words": lambda: {"forbidden_words": rng.sample(["cat", "fall", "light", "sing"], 2)},
    "keywords:letter_frequency": lambda: {"letter": rng.choice("rtw"), "let_frequency": rng.randint(1, 12), "let_relation": rng.choice(["at least", "less than"])},
    "length_constraints:number_words": lambda: {"num_words": rng.randint(4, 25), "relation": rng.choice(["at least", "less than"])},
    "length_constraints:number_paragraphs": lambda: {"num_paragraphs": rng.randint(1, 4)},
    "length_constraints:nth_paragraph_first_word": lambda: {"num_paragraphs": rng.randint(1, 3), "nth_paragraph": 1, "first_word": rng.choice(["the", "river", "my"])},
    "detectable_content:number_placeholders": lambda: {"num_placeholders": rng.randint(1, 4)},
    "detectable_content:postscript": lambda: {"postscript_marker": rng.choice(["P.S.", "P.P.S"])},
    "detectable_format:number_bullet_lists": lambda: {"num_bullets": rng.randint(1, 4)},
    "detectable_format:constrained_response": lambda: {},
    "detectable_format:number_highlighted_sections": lambda: {"num_highlights": rng.randint(1, 4)},
    "detectable_format:multiple_sections": lambda: {"section_spliter": "SECTION", "num_sections": rng.randint(1, 3)},
    "detectable_format:json_format": lambda: {},
    "detectable_format:title": lambda: {},
    "combination:two_responses": lambda: {},
    "combination:repeat_prompt": lambda: {"prompt_to_repeat": rng.choice(["the", "My answer", '"'])},
    "startend:end_checker": lambda: {"end_phrase": rng.choice(["Any questions?", "then.", "..."])},
    "startend:quotation": lambda: {},
    "change_case:capital_word_frequency": lambda: {"capital_frequency": rng.randint(1, 6), "capital_relation": rng.choice(["at least", "less than"])},
    "punctuation:no_comma": lambda: {},
}

cases = []
for name, make in ARGUMENTS.items():
    kept = {True: 0, False: 0}
    for _ in range(3000):
        arguments, text = make(), response()
        rule = instructions_registry.INSTRUCTION_DICT[name](name)
        rule.build_description(**arguments)
        verdict = bool(text.strip() and rule.check_following(text))
        if kept[verdict] < 12:
            kept[verdict] += 1
            cases.append({"id": name, "arguments": arguments, "response": text, "followed": verdict})
    assert kept[True] and kept[False], (name, kept)
(HERE / "ifeval_rules.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases")
