"""What `r1 pipeline --dry-run` says of a chain on a tiny model, held against the chain itself: sizes before and after, disk and memory within a quarter, time
within a factor, for the machine may be busy (plan_kinds.py looks closer). usage: plan.py R1_PROGRAM"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

RECIPE = """
schema: 1
kind: pipeline
output: {dir: out}
stages:
  - name: data
    recipe:
      kind: generate
      model: {path: tiny, device: cpu}
      data: {generate: {task: add, level: 1, n: 40, seed: 1}, template: chat}
      rollout: {samples_per_prompt: 4, max_new_tokens: 12}
      select: {per_prompt: 3}
  - name: sft
    recipe:
      kind: sft
      model: {path: tiny, device: cpu}
      data: {path: '${data.output}', template: chat}
      sft: {epochs: 2, examples_per_update: 8, learning_rate: 1.0e-3, warmup_steps: 0}
      output: {save_every: 10, tensorboard: false}
  - name: rl
    recipe:
      kind: grpo
      model: {path: '${sft.checkpoint}', device: cpu}
      data: {generate: {task: add, level: 1, n: 20, seed: 0}, template: chat}
      rollout: {samples_per_prompt: 4, max_new_tokens: 12}
      rewards: [{name: length, max: 6}]
      rl: {steps: 4, prompts_per_rollout: 8, learning_rate: 1.0e-3, warmup_steps: 0}
      output: {save_every: 2, tensorboard: false}
  - name: eval
    recipe:
      kind: eval
      model: {path: '${rl.checkpoint}', device: cpu}
      data: {generate: {task: add, level: 1, n: 30, seed: 0}, template: chat}
      protocol: greedy
      max_new_tokens: 12
"""


def bytes_of(text):
    number, unit = text.split()
    return float(number) * UNITS[unit]


def seconds_of(text):
    return sum(float(n) * {"h": 3600, "min": 60, "s": 1, "ms": 1e-3}[u] for n, u in re.findall(r"([\d.]+) (h|min|ms|s)\b", text))


def plan(folder):
    done = subprocess.run([PROGRAM, "pipeline", "p.yaml", "--dry-run"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    stages = {m.group(1): m.group(0) for m in re.finditer(r"^ *\d+ (\w+) \(.*?(?=^ *\d+ \w+ \(|^in all)", done.stdout, re.S | re.M)}
    return stages, done.stdout.splitlines()[-1]


def size_on_disk(place):
    return sum(f.stat().st_size for f in place.rglob("*") if f.is_file() and not f.is_symlink())


def near(said, measured, what, share=0.15):
    assert abs(said - measured) <= share * measured, f"{what}: {said:.0f} said, {measured:.0f} measured"
    print(f"{what}: {said:.4g} said, {measured:.4g} measured")


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    subprocess.run([sys.executable, HERE / "tiny_model.py", folder / "tiny", "--answers-end"], check=True)
    (folder / "p.yaml").write_text(RECIPE)

    before, total = plan(folder)
    assert list(before) == ["data", "sft", "rl", "eval"], before
    # 40 prompts, 3 of 4 samples each: nobody assumes 10,000 examples.
    assert "= 120 records of" in before["data"], before["data"]
    assert "examples 120 (from the stages before)" in before["sft"], before["sft"]
    assert "as the examples of sft" in before["rl"] and "as the examples of sft" in before["eval"], before
    assert "assumed), example_tokens" not in before["sft"]
    begin = time.monotonic()
    chain = subprocess.Popen([PROGRAM, "pipeline", "p.yaml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    _, status, usage = os.wait4(chain.pid, 0)
    took, peak = time.monotonic() - begin, usage.ru_maxrss * 1024
    assert status == 0, status
    said = re.search(r"in all about (.*?) on .*; at most (.*?) of memory, .*? of disk, (.*?) in the end", total)
    assert said, total
    near(bytes_of(said.group(2)), peak, "memory", 0.25)
    near(bytes_of(said.group(3)), size_on_disk(folder / "out/stages"), "disk")
    assert took / 10 < seconds_of(said.group(1)) < 10 * took, (said.group(1), took)
    print(f"time: {said.group(1)} said, {took:.2f} s taken")

    after, total = plan(folder)
    rows = len((next((folder / "out/stages/data").glob("*/set/data.jsonl"))).read_text().splitlines())
    assert f"examples {rows} (data)" in after["sft"], after["sft"]
    measured = [json.loads(line)["completions/mean_length"] for line in next((folder / "out/stages/rl").glob("*/run/metrics.jsonl")).read_text().splitlines()]
    said_length = float(re.search(r"new_tokens ([\d.]+) \(measured\)", after["rl"]).group(1))
    near(said_length, sum(measured) / len(measured), "new_tokens", 0.01)
    assert "4 finished stages" in total, total

    # Every setting, where it was written; nothing that only stands for something while a plan is made.
    (folder / "sft.yaml").write_text("kind: sft\nmodel: {path: tiny}\ndata: {path: missing.jsonl, template: chat}\nsft:\n  epochs: 3\n")
    done = subprocess.run([PROGRAM, "plan", "sft.yaml", "sft.learning_rate=2e-4", "--device", "h200"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if "  # " in line}
    for key, value, origin in [("sft.epochs", "3", "sft.yaml:5"), ("sft.learning_rate", "2e-4", "command line"), ("data.path", "missing.jsonl", "sft.yaml:3"),
                               ("output.dir", "runs/sft", "default"), ("sft.examples_per_update", "", "default")]:
        assert value in lines[key] and origin in lines[key], (key, lines[key])
    done = subprocess.run([PROGRAM, "plan", "p.yaml", "--stage", "rl"], capture_output=True, text=True, cwd=folder)
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if "  # " in line}
    assert "${sft.checkpoint}" in lines["model.path"] and "p.yaml:23" in lines["model.path"], lines["model.path"]
    assert "out/stages/rl/" in lines["output.dir"] and "of the pipeline" in lines["output.dir"], lines["output.dir"]
    assert "planned" not in done.stdout and "/dev/" not in done.stdout, done.stdout
print("ok")
