"""`r1 doctor` finds each of these seeded misconfigurations by its name, and nothing wrong in the recipe they were made from.
usage: doctor.py R1_PROGRAM. Needs nothing beyond Python's own library."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
PROGRAM = sys.argv[1]
TEMPLATE = ("{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"
            "{% if add_generation_prompt %}<s>assistant: {% if think %}<think>\n{% endif %}{% endif %}")
RECIPE = """schema: 1
kind: grpo
model: {path: MODEL}
data: {path: DIR/train.jsonl}
rollout: {samples_per_prompt: 4, max_new_tokens: 32}
rewards:
  - {name: math, extract: last_number}
rl: {steps: 10, prompts_per_rollout: 4}
eval: {data: DIR/test.jsonl}
output: {dir: DIR/run, save_every: 5}
"""
THINGS = ["apples", "pears", "coins", "books", "stones", "cards", "pens", "shells", "nails", "eggs"]
NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon"]


def row(i, test=False):
    a, b = 10 + i * 7 % 83, 3 + i * 5 % 61
    who, what = NAMES[i % 10], THINGS[i // 10 % 10]
    question = f"{who} sells {a} {what} and finds {b}; how many?" if test else f"{who} has {a} {what}, gets {b} more. What is the total?"
    return {"id": f"{'t' if test else 'r'}{i}", "question": question, "answer": str(a - b if test else a + b), "level": "2", "steps": "[[",
            "worked": f"{question} {a} + {b}. #### {a + b}"}


def write_rows(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


class Case:
    """A recipe in a folder of its own that a misconfiguration may change."""

    def __init__(self, folder, tiny):
        self.dir, self.model = folder, folder / "model"
        folder.mkdir()
        shutil.copytree(tiny, self.model)
        self.train, self.test = [row(i) for i in range(100)], [row(i, True) for i in range(100)]
        self.recipe, self.overrides = RECIPE, []

    def json(self, name, change):
        path = self.model / name
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    def file(self, name, text):
        (self.dir / name).write_text(text, encoding="utf-8")
        return self.dir / name

    def run(self, sampling=False):
        for name, rows in (("train.jsonl", self.train), ("test.jsonl", self.test)):
            if rows is not None:
                write_rows(self.dir / name, rows)
        text = self.recipe.replace("MODEL", str(self.model)).replace("DIR", str(self.dir))
        recipe = self.file("recipe.yaml", text)
        command = [PROGRAM, "doctor", "--json", "--no-machine", *(() if sampling else ("--no-sampling",)), str(recipe), *self.overrides]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.dir)
        found = json.loads(done.stdout)
        assert done.returncode == (2 if found["errors"] else 0), (done.returncode, done.stderr)
        return {f["name"]: f for f in reversed(found["findings"])}


def rewards(case, *entries):
    case.recipe = case.recipe.replace("  - {name: math, extract: last_number}\n", "".join(f"  - {e}\n" for e in entries))


def settings(*overrides):
    return lambda c: c.overrides.extend(overrides)


def with_rewards(*entries, more=()):
    def change(c):
        rewards(c, *entries)
        c.overrides.extend(more)
    return change


def python_reward(body, entry="{python: 'mine.py:f'}"):
    def change(c):
        c.file("mine.py", f"def f(prompts, completions, **columns):\n    {body}\n")
        rewards(c, "{name: math, extract: last_number}", entry)
    return change


def plain_template(c):
    def add_bos(t):
        t["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                               "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [256], "tokens": ["<s>"]}}}
    c.json("tokenizer.json", add_bos)
    c.overrides += ["data.template=file", f"data.template_file={c.file('t.txt', '<s>Q: {question} A:')}"]


def template_file(text):
    return lambda c: c.overrides.extend(["data.template=file", f"data.template_file={c.file('t.jinja', text)}"])


def chat_template(text):
    return lambda c: c.json("tokenizer_config.json", lambda t: t.update(chat_template=text))


def ends(**ids):
    def change(c):
        for name in ("config.json", "generation_config.json"):
            def swap(content):
                content.pop("eos_token_id", None)
                content.update(ids)
            c.json(name, swap)
    return change


def same_answers(c):
    c.overrides.append("data.answer=level")


def leaked(c):
    c.train += c.test[:20]


def doubled(c):
    c.train = [{**r, "id": r["id"] + x} for r in c.train for x in "ab"]


def no_gold(c):
    c.train = [{k: v for k, v in r.items() if k in ("id", "question")} for r in c.train]


def broken(c):
    c.train[5] = {"id": "r5", "question": ""}


def misspelt_file(c):
    c.overrides.append(f"data.path={c.dir}/trian.jsonl")


def supervised(c):
    """Turns that do not end with the stop token: such a model never learns to stop."""
    chat_template("{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}")(c)
    c.train = [{"prompt": r["question"], "completion": r["answer"]} for r in c.train]
    c.recipe = "schema: 1\nkind: sft\nmodel: {path: MODEL}\ndata: {path: DIR/train.jsonl}\noutput: {dir: DIR/run}\n"


# name of the finding, words that it must say, the misconfiguration, whether the start model is asked
CASES = [
    ("recipe", "did you mean 'rl.learning_rate'", settings("rl.lerning_rate=1e-6"), False),
    ("recipe", "here it is rollout.samples_per_prompt", settings("rl.num_generations=8"), False),
    ("recipe", "completions of an update", settings("rl.per_device_train_batch_size=8"), False),
    ("recipe", "kl.coefficient is 0", settings("rl.kl.estimator=k3"), False),
    ("recipe", "samples_per_prompt is 1", settings("rollout.samples_per_prompt=1"), False),
    ("recipe", "did you mean", misspelt_file, False),
    ("recipe", "temperature", settings("rollout.temperature=0"), False),
    ("recipe", "</answer>", with_rewards("{name: math}", "{name: format}", more=["rollout.stop=['</answer>']"]), False),
    ("recipe-warning", "cut the distribution", settings("rollout.top_p=0.8"), False),
    ("model", "not found", settings("model.path=no/such_model"), False),
    ("vocabulary", "259", lambda c: c.json("config.json", lambda t: t.update(vocab_size=200)), False),
    ("gold-unreadable", "unreadable gold", settings("data.answer=steps"), False),
    ("gold-unreadable", "no gold answer", no_gold, False),
    ("data-unreadable", "no column \"golden\"", settings("data.answer=golden"), False),
    ("gold-constant", "the gold answer is '2'", same_answers, False),
    ("gold-in-prompt", "100 of 100", settings("data.prompt=worked"), False),
    ("bad-rows", "1 of 100", broken, False),
    ("contamination", "20 of 120", leaked, False),
    ("duplicate-prompts", "100 of 200", doubled, False),
    ("eval-small", "20 evaluation prompts", settings("eval.limit=20"), False),
    ("many-epochs", "times", settings("rl.steps=2000"), False),
    ("prompt-too-long", "4096", settings("rollout.max_new_tokens=4090"), False),
    ("question-lost", "does not hold the question", template_file("{{ bos_token }}user: {{ messages[0].role }}</s><s>assistant: "), False),
    ("double-bos", "twice", plain_template, False),
    ("unknown-marks", "<|im_start|>", template_file("{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}<|im_start|>assistant: "), False),
    ("no-generation-prompt", "nothing that opens", chat_template("{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"), False),
    ("template-unused", "continues the question", settings("data.template=none"), False),
    ("think-prefilled", "begin inside the block", settings("data.template_variables={think: true}"), False),
    ("turn-end-no-stop", "every sample runs to the token limit", ends(eos_token_id=258), False),
    ("no-stop-token", "names a token", ends(), False),
    ("eos-differs", "</s>", ends(eos_token_id=258), False),
    ("pad-is-stop", "pad token", lambda c: c.json("generation_config.json", lambda t: t.update(pad_token_id=257)), False),
    ("stop-cuts-answer", "white space", settings("rollout.stop=[\"\\n\\n\"]"), False),
    ("stop-cuts-answer", "boxed", settings("rollout.stop=['boxed']"), False),
    ("learning-rate", "0.01", settings("rl.learning_rate=0.01"), False),
    ("format-not-asked", "does not speak of them", with_rewards("{name: math, extract: last_number}", "{name: format, weight: 0.2}"), False),
    ("answer-form-not-asked", "reads the answer from \\boxed{", with_rewards("{name: math, extract: boxed}"), False),
    ("reward-constant", "all get the same", with_rewards("{name: math, extract: last_number}", "{name: regex, pattern: '^<think>', weight: 0.2}",
                                                         more=["data.template_variables={think: true}"]), False),
    ("reward-constant", "f: 0 to 0", python_reward("return [0.0 for _ in completions]"), False),
    ("reward-abstains", "no value for any", python_reward("return [None for _ in completions]"), False),
    ("reward-throws", "KeyError", python_reward("return [columns['nothing'] for _ in completions]"), False),
    ("reward-throws", "nan", python_reward("return [float('nan') for _ in completions]"), False),
    ("wrong-answer-paid", "earns", python_reward("return [float(str(c).count(a)) for c, a in zip(completions, columns['answer'])]", "{python: 'mine.py:f', weight: -1}"), False),
    ("verdict-unpaid", "weight is 0", with_rewards("{name: math, extract: last_number, weight: 0}", "{name: words_below, limit: 5}"), False),
    ("no-verdict", "dynamic sampling", with_rewards("{name: format}", more=["rl.dynamic_sampling.enabled=true"]), False),
    ("no-known-answers", "words_below", with_rewards("{name: words_below, limit: 5}"), False),
    ("form-outweighs", "rewards of form", with_rewards("{name: math, extract: last_number}", "{name: format, weight: 5}"), False),
    ("reward-self-test", "judged wrongly", lambda c: (with_rewards("{name: math, extract: last_number}")(c), setattr(c, "train", [{**r, "answer": "Evelyn Jones"} for r in c.train])), False),
    ("truncated", "max_new_tokens = 2", settings("rollout.max_new_tokens=2"), True),
    ("no-signal", "groups have rewards that differ", settings("rollout.max_new_tokens=2"), True),
    ("data-unreadable", "does not end with a stop token", supervised, False),
]


def main():
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        subprocess.run([sys.executable, HERE / "tiny_model.py", tmp / "tiny"], check=True)
        config = json.loads((tmp / "tiny/tokenizer_config.json").read_text())
        config["chat_template"] = TEMPLATE
        (tmp / "tiny/tokenizer_config.json").write_text(json.dumps(config))
        clean = Case(tmp / "clean", tmp / "tiny").run()
        wrong = {n: f for n, f in clean.items() if f["level"] in ("warning", "error")}
        assert not wrong, f"a good recipe is found fault with: {wrong}"
        failed = 0
        for number, (name, words, change, sampling) in enumerate(CASES):
            assert name not in clean or clean[name]["level"] == "ok", name
            case = Case(tmp / f"case{number}", tmp / "tiny")
            change(case)
            found = case.run(sampling)
            finding = found.get(name)
            text = finding["text"] + " " + finding["remedy"] if finding else ""
            good = finding and finding["level"] != "ok" and words in text
            failed += not good
            print("ok  " if good else "FAIL", name, "" if good else f"wanted '{words}', found {json.dumps(found, indent=1)}", flush=True)
        assert failed == 0, f"{failed} of {len(CASES)} misconfigurations were not found by name"
        print(f"{len(CASES)} misconfigurations found")


if __name__ == "__main__":
    main()
