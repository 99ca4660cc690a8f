#!/usr/bin/env python3
"""Data of recipes/bilingual.yaml: small word problems in English and in Chinese, and worked chains for them that mix the two languages at a
stated rate: each sentence of a chain is in the other language with that chance. Same bytes on every machine.

usage: scripts/bilingual_data.py [--out data/bilingual] [--rate 0.4] [--chains 600] [--prompts 2000] [--test 150] [--seed 0]
writes chains.jsonl (messages), prompts.jsonl, test_en.jsonl and test_zh.jsonl (prompt, answer, language); no test problem is in the others."""
import argparse
import json
import pathlib
import random

# Things, and who has them, by language.
THINGS = {"en": ["apples", "books", "pencils", "stones", "eggs", "cards"], "zh": ["个苹果", "本书", "支铅笔", "块石头", "个鸡蛋", "张卡片"]}
NAMES = {"en": ["Tom", "Anna", "Ben", "Mary"], "zh": ["小明", "小红", "小刚", "小丽"]}
QUESTION = {"en": "{name} has {a} {thing}. Then {name} gets {b} more and gives away {c}. How many {thing} are left?",
            "zh": "{name}有{a}{thing}，后来又得到{b}{unit}，送给别人{c}{unit}。现在还剩多少{thing}？"}
SENTENCES = {"en": ["At first there are {a} {thing}.", "With {b} more there are {a} + {b} = {ab}.", "After giving away some there are {ab} - {c} = {abc}.",
                    "So the answer is {abc}."],
             "zh": ["一开始有{a}{thing}。", "又得到{b}{unit}以后有{a} + {b} = {ab}。", "送给别人以后剩下{ab} - {c} = {abc}。", "所以答案是{abc}。"]}
OTHER = {"en": "zh", "zh": "en"}


class Problem:
    def __init__(self, rng):
        self.language = rng.choice(["en", "zh"])
        self.name, self.thing = rng.randrange(len(NAMES["en"])), rng.randrange(len(THINGS["en"]))
        self.a, self.b = rng.randint(11, 60), rng.randint(11, 39)
        self.c = rng.randint(2, 9)

    def words(self, language):
        ab = self.a + self.b
        thing = THINGS[language][self.thing]  # the Chinese ones begin with their measure word
        return {"name": NAMES[language][self.name], "thing": thing, "unit": thing[0], "a": self.a, "b": self.b, "c": self.c,
                "ab": ab, "abc": ab - self.c}

    def question(self):
        return QUESTION[self.language].format(**self.words(self.language))

    def numbers(self):
        return self.a, self.b, self.c

    def row(self, i):
        return {"id": f"story-{i}", "task": "math", "language": self.language, "prompt": self.question(), "answer": str(self.words("en")["abc"])}

    def chain(self, rng, rate):
        lines = []
        for i in range(len(SENTENCES["en"])):
            language = OTHER[self.language] if rng.random() < rate else self.language
            lines.append(SENTENCES[language][i].format(**self.words(language)))
        text = "<think>\n" + "\n".join(lines) + f"\n</think>\n{self.words('en')['abc']}"
        return {"messages": [{"role": "user", "content": self.question()}, {"role": "assistant", "content": text}]}


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows):,} rows")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", default="data/bilingual", type=pathlib.Path)
    p.add_argument("--rate", default=0.4, type=float, help="chance that a sentence of a chain is in the other language")
    p.add_argument("--chains", default=600, type=int)
    p.add_argument("--prompts", default=2000, type=int)
    p.add_argument("--test", default=150, type=int, help="test problems a language")
    p.add_argument("--seed", default=0, type=int)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(a.seed)
    test, taken = {"en": [], "zh": []}, set()
    while min(map(len, test.values())) < a.test:
        problem = Problem(rng)
        if len(test[problem.language]) < a.test and problem.numbers() not in taken:
            taken.add(problem.numbers())
            test[problem.language].append(problem)
    rest = []
    while len(rest) < a.chains + a.prompts:
        problem = Problem(rng)
        if problem.numbers() not in taken:  # no numbers of the test in training, in either language
            rest.append(problem)
    write(a.out / "chains.jsonl", [q.chain(rng, a.rate) for q in rest[:a.chains]])
    write(a.out / "prompts.jsonl", [q.row(i) for i, q in enumerate(rest[a.chains:])])
    for language, problems in test.items():
        write(a.out / f"test_{language}.jsonl", [q.row(f"{language}-{i}") for i, q in enumerate(problems)])


main()
