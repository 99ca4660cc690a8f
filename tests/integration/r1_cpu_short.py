"""recipes/r1_cpu.yaml as it is shipped, with a tiny random model and small counts, so that it runs in seconds: every stage, kills at random moments,
the same digests. A random model is never right: what is filtered by right answers in the recipe is not filtered here.
usage: r1_cpu_short.py R1_PROGRAM [KILLS] [SEED]"""
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from pipeline_support import PROGRAM, make_tiny, outputs

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
OUT = "runs/r1_cpu"
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1


def smaller(name, *changes):
    text = (RECIPES / name).read_text()
    for pattern, by in changes:
        text, n = re.subn(pattern, by, text)
        assert n > 0, (name, pattern)
    return text


def make(folder):
    make_tiny(folder)
    (folder / "recipes").mkdir()
    shutil.copy(RECIPES / "r1_cpu_pairs.jsonl", folder / "recipes")
    changes = {"r1_cpu.yaml": [(r"rl\.steps: \d+", "rl.steps: 2"), (r"level: 2, n: \d+, seed", "level: 2, n: 12, seed"),
                               (r"filters: \{.*\}", "filters: {finished: false}"), (r"save_every: \d+", "save_every: 1"), (r"examples_per_update: (32|16)", "examples_per_update: 4"),
                               (r"max_new_tokens: 40", "max_new_tokens: 12")],
               "quickstart.yaml": [(r"prompts_per_rollout: 32", "prompts_per_rollout: 3"), (r"max_new_tokens: 40", "max_new_tokens: 12")],
               "r1_eval_add.yaml": [(r"n: 150", "n: 8"), (r"max_new_tokens: 40", "max_new_tokens: 12")]}
    for name, list_of in changes.items():
        (folder / "recipes" / name).write_text(smaller(name, *list_of))


def command(*more):
    return [PROGRAM, "-q", "pipeline", "recipes/r1_cpu.yaml", "vars.base=tiny", "vars.student=tiny", *more]


def main():
    tmp = pathlib.Path(tempfile.mkdtemp())
    try:
        whole = tmp / "whole"
        make(whole)
        start = time.time()
        done = subprocess.run(command(), cwd=whole, capture_output=True, text=True)
        seconds = time.time() - start
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        expected = outputs(whole, OUT)
        stages = re.findall(r"^  - \{?name: (\w+)", (RECIPES / "r1_cpu.yaml").read_text(), re.M)
        assert sorted(expected) == sorted(stages), (stages, expected)
        for stage in ("cold_start_sft", "reasoning_rl", "rejection_sampling", "sft", "reward_models", "general_rl", "distill", "eval_base", "eval_student"):
            assert stage in expected, stage
        rng = random.Random(SEED)
        killed = tmp / "killed"
        make(killed)
        kills = tries = 0
        while kills < KILLS:
            process = subprocess.Popen(command(), cwd=killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.05, seconds * 0.6))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
            tries += 1
            if outputs(killed, OUT).keys() == expected.keys() and kills < KILLS:  # it got to its end between the kills: once more from nothing
                assert outputs(killed, OUT) == expected
                shutil.rmtree(killed)
                make(killed)
        done = subprocess.run(command(), cwd=killed, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        assert outputs(killed, OUT) == expected, (outputs(killed, OUT), expected)
        print(f"{len(expected)} stages in {seconds:.1f} s; {kills} kills in {tries} starts: all digests equal")
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


main()
