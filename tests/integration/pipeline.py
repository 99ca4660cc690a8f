"""`r1 pipeline` as a user calls it, on a tiny model: all kinds of stages, what is skipped and what runs again, kills at random moments, missing
data, a stage that fails. usage: pipeline.py R1_PROGRAM [KILLS] [SEED]"""
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from pipeline_support import PROGRAM, make_tiny, outputs, r1, ran, table

KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1

RECIPE = """
schema: 1
kind: pipeline
vars: {base: tiny}
output: {dir: out}
stages:
  - name: zero
    recipe:
      kind: grpo
      model: {path: '${vars.base}', dtype: float32, device: cpu}
      data: {generate: {task: add, level: 1, n: 20, seed: 0}, template: chat}
      rollout: {samples_per_prompt: 4, max_new_tokens: 6}
      rewards: [{name: length, max: 3}]
      rl: {steps: 4, prompts_per_rollout: 4, learning_rate: 1.0e-3, warmup_steps: 0}
      output: {save_every: 1, tensorboard: false}
  - name: data
    recipe:
      kind: generate
      model: {path: '${zero.checkpoint}', dtype: float32, device: cpu}
      data: {generate: {task: add, level: 1, n: 12, seed: 1}, template: chat}
      rollout: {samples_per_prompt: 2, max_new_tokens: 6}
  - name: sft
    recipe: sft.yaml
    set: {data.path: '${data.output}', sft.learning_rate: 1.0e-3}
  - name: rm
    recipe:
      kind: reward_model
      model: {path: '${sft.checkpoint}', dtype: float32, device: cpu}
      data: {path: pairs.jsonl}
      reward_model: {examples_per_update: 4, epochs: 1, learning_rate: 1.0e-3, warmup_steps: 0}
      output: {save_every: 1, tensorboard: false}
  - name: general_rl
    recipe:
      kind: grpo
      model: {path: '${sft.checkpoint}', dtype: float32, device: cpu}
      data: {generate: {task: add, level: 1, n: 20, seed: 3}, template: chat}
      rollout: {samples_per_prompt: 4, max_new_tokens: 6}
      rewards: [{model: '${rm.checkpoint}', kind: helpful, on: response}]
      rl: {steps: 2, prompts_per_rollout: 4, learning_rate: 1.0e-3, warmup_steps: 0}
      output: {save_every: 1, tensorboard: false}
  - name: distill
    recipe:
      kind: distill
      distill: {mode: logits, teacher: '${general_rl.checkpoint}'}
      model: {path: '${vars.base}', dtype: float32, device: cpu}
      data: {path: '${data.output}', template: chat}
      sft: {epochs: 1, examples_per_update: 8, learning_rate: 1.0e-3, warmup_steps: 0}
      output: {save_every: 1, tensorboard: false}
  - name: eval
    recipe:
      kind: eval
      model: {path: '${general_rl.checkpoint}', dtype: float32, device: cpu}
      data: {generate: {task: add, level: 1, n: 10, seed: 0}, template: chat}
      protocol: greedy
      max_new_tokens: 6
"""
SFT = """
kind: sft
model: {path: tiny, dtype: float32, device: cpu}
data: {path: nothing.jsonl, template: chat}
sft: {epochs: 1, examples_per_update: 4, warmup_steps: 0}   # a comment
output: {save_every: 1, tensorboard: false}
"""
NAMES = ["zero", "data", "sft", "rm", "general_rl", "distill", "eval"]


def pipeline(folder, *args, code=0, words=""):
    return r1(folder, "pipeline", "p.yaml", *args, code=code, words=[words])


def make(folder):
    make_tiny(folder)
    (folder / "p.yaml").write_text(RECIPE)
    (folder / "sft.yaml").write_text(SFT)
    rows = [{"prompt": f"{i} + 1?", "chosen": str(i + 1), "rejected": "perhaps"} for i in range(12)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def states(folder):
    return {name: state for name, (state, _) in table(folder).items()}


def main():
    tmp = pathlib.Path(tempfile.mkdtemp())
    whole = tmp / "whole"
    make(whole)
    plan = pipeline(whole, "--dry-run")
    assert "4 prompts x 4 samples = 16 completions of at most 6 tokens" in plan and "12 prompts x 2 samples" in plan and "needs data" in plan, plan
    assert not (whole / "out").exists()
    assert set(states(whole).values()) == {"to do"}
    # Up to a stage, then the rest.
    assert ran(pipeline(whole, "--until", "data")) == ["zero", "data"]
    assert states(whole) == {**dict.fromkeys(NAMES, "to do"), "zero": "finished", "data": "finished"}
    pipeline(whole, "--from", "general_rl", code=2, words="stage sft before it is not finished")
    assert ran(pipeline(whole, "--from", "sft")) == NAMES[2:]
    expected = outputs(whole)
    assert sorted(expected) == sorted(NAMES), expected
    assert ran(pipeline(whole)) == []
    # Disk: of finished trainings one checkpoint stays, without what resuming needs.
    assert len(list(whole.glob("out/stages/zero/*/run/checkpoints/step_*"))) == 1 and not list(whole.glob("out/stages/*/*/run/checkpoints/step_*/state"))
    # A stage's recipe runs alone: there is nothing left to do in its folder but what it says itself.
    alone = next(whole.glob("out/stages/eval/*/recipe.yaml"))
    done = subprocess.run([PROGRAM, "-q", "eval", alone.relative_to(whole), "--json"], capture_output=True, text=True, cwd=whole)
    assert done.returncode == 0 and json.loads(done.stdout)["benchmarks"]["add_1"]["greedy"]["items"] == 10, done
    # A comment, the order of keys, and where results go change nothing.
    (whole / "p.yaml").write_text("# new\n" + RECIPE.replace("rl: {steps: 4, prompts_per_rollout: 4,", "rl: {prompts_per_rollout: 4,  steps: 4,"))
    (whole / "sft.yaml").write_text(SFT.replace("# a comment", "# another"))
    assert ran(pipeline(whole)) == []
    # A learning rate: that stage and those that follow from it.
    rate = RECIPE.replace("sft.learning_rate: 1.0e-3", "sft.learning_rate: 2.0e-3")
    (whole / "p.yaml").write_text(rate)
    assert ran(pipeline(whole)) == ["sft", "rm", "general_rl", "distill", "eval"]
    (whole / "p.yaml").write_text(RECIPE)
    assert ran(pipeline(whole)) == [], "the earlier results are still there"
    assert ran(pipeline(whole, "stages.6.set={seed: 1}")) == ["eval"]
    # Another byte in a data file: its stage and what follows.
    pairs = whole / "pairs.jsonl"
    before = pairs.read_text()
    pairs.write_text(before.replace("perhaps", "Perhaps"))
    assert ran(pipeline(whole)) == ["rm", "general_rl", "distill", "eval"]
    # Missing data stops before any stage, with the stage's name; the next call goes on.
    pairs.unlink()
    pipeline(whole, code=2, words="stage rm: not there: data.path: pairs.jsonl")
    pairs.write_text(before)
    # A stage that fails: rows without their columns. What was finished before it stays.
    fails = tmp / "fails"
    make(fails)
    (fails / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b"}\n')
    text = pipeline(fails, code=2, words="r1: error: stage rm: ")
    assert "rejected" in text and states(fails)["sft"] == "finished" and states(fails)["general_rl"] == "to do", text
    (fails / "pairs.jsonl").write_text(before)
    assert ran(pipeline(fails)) == ["rm", "general_rl", "distill", "eval"]
    assert outputs(fails) == expected
    # Mistakes in a recipe are found before the first stage runs.
    pipeline(fails, "stages.4.set={rl.learning_rat: 1}", code=2, words="learning_rate")
    pipeline(fails, "stages.2.needs=[dta]", code=2, words="did you mean 'data'")
    pipeline(fails, "--until", "nobody", code=2, words="no stage is named 'nobody'")
    # Killed at random moments: the same results.
    rng = random.Random(SEED)
    start = time.time()
    reference = tmp / "timed"
    make(reference)
    pipeline(reference)
    seconds, kills = time.time() - start, 0
    while kills < KILLS:
        folder = tmp / f"killed{kills}"
        make(folder)
        for _ in range(5):
            process = subprocess.Popen([PROGRAM, "-q", "pipeline", "p.yaml"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0, seconds * 0.7))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
            if kills >= KILLS:
                break
        pipeline(folder)
        assert outputs(folder) == expected, (kills, outputs(folder), expected)
    print(f"{kills} kills: all digests equal; one run takes {seconds:.1f} s")
    subprocess.run(["rm", "-rf", tmp])


main()
