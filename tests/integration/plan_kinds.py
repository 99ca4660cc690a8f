"""`r1 plan` beside single runs of every kind on a small random model: processors' time within 25 %, memory within 25 %, disk within 15 %.
The time is the processors', which a busy machine hardly changes; the plan measures the machine when it is made, so it is made before and after the
run (geometric mean), and what misses is tried again: a machine that changes under a run is no fault of the plan. usage: plan_kinds.py R1_PROGRAM [KIND...]"""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
ATTEMPTS = 4
BOUNDS = {"processors": 0.25, "memory": 0.25, "disk": 0.15}

ADD = "data: {generate: {task: add, level: 2, n: 400, seed: 0}, template: chat}"
TEXTS = "data: {path: texts.jsonl, template: chat}"
PAIRS = "data: {path: pairs.jsonl, template: chat}"
MODEL = "model: {path: model, device: cpu}"
RATE = "learning_rate: 1.0e-6, warmup_steps: 0"


# Groups of sixteen, of which few have no completion that ends within its budget: the share of groups with a signal is no matter of luck.
def rl(steps, prompts, samples, tokens, more="", rl=""):
    return f"""kind: grpo
{MODEL}
{ADD}
rollout: {{samples_per_prompt: {samples}, max_new_tokens: {tokens}}}
rewards: [{{name: length, max: {tokens - 1}}}]
rl: {{steps: {steps}, prompts_per_rollout: {prompts}, {RATE}{rl}}}
{more}
"""


def sft(more="", kind="sft", epochs=6):
    return f"kind: {kind}\n{MODEL}\n{TEXTS}\nsft: {{epochs: {epochs}, examples_per_update: 16, {RATE}}}\n{more}\n"


def preference(kind):
    return f"kind: {kind}\n{MODEL}\n{PAIRS}\n{kind}: {{examples_per_update: 8, epochs: 6, {RATE}}}\n"


RECIPES = {
    "grpo": rl(3, 16, 16, 48),
    "reference": rl(6, 4, 8, 48, rl=", kl: {coefficient: 0.01}"),
    "minibatches": rl(12, 16, 16, 48, rl=", updates_per_rollout: 2, passes_per_rollout: 2"),
    "evaluated": rl(4, 8, 16, 48, more="eval: {generate: {task: add, level: 2, n: 64, seed: 0, distinct: true}, every: 2, greedy: true, samples: 1}"),
    "sft": sft(),
    "lora": sft("lora: {rank: 8}"),
    "logits": sft("distill: {mode: logits, teacher: teacher}", "distill"),
    "on_policy": f"kind: distill\ndistill: {{mode: on_policy, teacher: teacher}}\n{MODEL}\n{ADD}\nrollout: {{samples_per_prompt: 4, max_new_tokens: 40}}\n"
                 f"rl: {{steps: 12, prompts_per_rollout: 8, {RATE}}}\n",
    "dpo": preference("dpo"),
    "reward_model": preference("reward_model"),
    "generate": f"kind: generate\n{MODEL}\ndata: {{generate: {{task: add, level: 2, n: 400, seed: 1}}, template: chat}}\n"
                "rollout: {samples_per_prompt: 4, temperature: 1.0, max_new_tokens: 48}\n",
    "eval": f"kind: eval\n{MODEL}\ndata: {{generate: {{task: add, level: 2, n: 700, seed: 0, distinct: true}}, template: chat}}\n"
            "rewards: [math]\nprotocol: greedy\nmax_new_tokens: 48\n",
}


def plan(folder, kind):
    done = subprocess.run([PROGRAM, "plan", f"{kind}.yaml", "--device", "cpu", "--json"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run(folder, kind, attempt):
    out = folder / f"{kind}_{attempt}"
    what = kind if kind in ("generate", "eval") else "train"
    where = f"output.path={out}/set" if kind == "generate" else f"output.dir={out}/out"
    process = subprocess.Popen([PROGRAM, what, f"{kind}.yaml", where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, (kind, status)
    disk = sum(f.stat().st_size for f in out.rglob("*") if f.is_file() and not f.is_symlink())
    return {"processors": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024, "disk": disk}


def compare(folder, kind):
    best = {}
    for attempt in range(ATTEMPTS):
        before = plan(folder, kind)
        took = run(folder, kind, attempt)
        after = plan(folder, kind)
        said = {"processors": math.sqrt(before["processor_seconds"] * after["processor_seconds"]), "memory": after["memory_bytes"], "disk": after["disk_bytes"]}
        # By the clock at least what the processors need with all threads.
        assert after["seconds"] >= 0.9 * after["processor_seconds"] / max(1, os.cpu_count()), after
        for what in BOUNDS:
            off = said[what] / took[what] - 1
            if what not in best or abs(off) < abs(best[what][0]):
                best[what] = (off, said[what], took[what])
        if all(abs(best[what][0]) <= BOUNDS[what] for what in BOUNDS):
            break
    print(f"{kind:12}", *(f"{what} {said:.4g} said, {took:.4g} taken ({100 * off:+.0f} %);" for what, (off, said, took) in best.items()), f"attempt {attempt + 1}",
          flush=True)
    return [f"{kind}: {what} {said:.4g} said, {took:.4g} taken" for what, (off, said, took) in best.items() if abs(off) > BOUNDS[what]]


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for model, seed in (("model", "0"), ("teacher", "7")):
        subprocess.run([sys.executable, HERE / "tiny_model.py", folder / model, seed, "--answers-end", "--wide"], check=True)
    for file, rows, flag in (("texts.jsonl", "96", "--worked"), ("pairs.jsonl", "48", "--pairs")):
        subprocess.run([PROGRAM, "data", "add", "--level", "2", "--n", rows, flag, "--out", folder / file], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    missed = []
    for kind in sys.argv[2:] or RECIPES:
        (folder / f"{kind}.yaml").write_text(RECIPES[kind])
        missed += compare(folder, kind)
    assert not missed, "\n".join(missed)
print("ok")
