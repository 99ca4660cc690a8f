"""Every write, sync, rename, link and creation below the output folder fails once, one in each run; the same command again must then end with what a
run without faults ends with. A run that hits a fault either says so, with the file's name, or ends as if nothing had been.
usage: file_faults.py R1_PROGRAM [SHARE]     SHARE: one in so many calls is tried (1 = all); exit code 77 = skipped (no C compiler)"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
SHARE = int(sys.argv[2]) if len(sys.argv) > 2 else 1

COMMON = "schema: 1\nmodel: {path: tiny, dtype: float32, device: cpu}\ndata: {generate: {task: add, level: 1, n: 20, seed: 0}, template: chat}\n"
RECIPES = {
    "grpo": COMMON + "kind: grpo\nrollout: {samples_per_prompt: 4, max_new_tokens: 12}\nrewards: [{name: length, max: 6}]\n"
    "rl: {steps: 4, prompts_per_rollout: 2, learning_rate: 1.0e-3, warmup_steps: 0}\noutput: {dir: out, save_every: 2, keep: 1}\n",
    "sft": COMMON + "kind: sft\nsft: {steps: 3, examples_per_update: 4, learning_rate: 1.0e-3, warmup_steps: 0}\noutput: {dir: out, save_every: 2}\n",
    "pipeline": "schema: 1\nkind: pipeline\noutput: {dir: out}\nstages:\n"
    "  - name: data\n    recipe: {kind: generate, model: {path: tiny, device: cpu}, data: {generate: {task: add, level: 1, n: 4, seed: 1}, template: chat}, "
    "rollout: {samples_per_prompt: 2, max_new_tokens: 6}, select: {per_prompt: 2}}\n"
    "  - name: sft\n    recipe: {kind: sft, model: {path: tiny, dtype: float32, device: cpu}, data: {path: '${data.output}', template: chat}, "
    "sft: {steps: 2, examples_per_update: 4, warmup_steps: 0}}\n"
    "  - name: eval\n    recipe: {kind: eval, model: {path: '${sft.checkpoint}', device: cpu}, data: {generate: {task: add, level: 1, n: 4, seed: 0}, template: chat}, "
    "protocol: greedy, max_new_tokens: 6}\n",
}
TIMES = ("time", "timing", "_per_s", "perf/", "memory/")  # parts of the names of metrics that no two runs share


def results(out):
    """What a run leaves that must not depend on its faults: weights, made data, and the measured steps without their times."""
    found = {}
    for file in sorted(out.rglob("*")):
        name = str(file.relative_to(out))
        if file.is_symlink() or not file.is_file() or "/." in "/" + name:
            continue
        assert ".tmp-" not in name, f"{name} is left over"
        if file.suffix == ".safetensors" or name.endswith("data.jsonl"):
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif file.name == "metrics.jsonl":
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            found[name] = [{k: v for k, v in line.items() if not any(t in k for t in TIMES)} for line in lines]
    return found


def run(folder, command, shim=None, at=0):
    env = dict(os.environ, OMP_NUM_THREADS="1")
    log = folder / "faults.log"
    log.unlink(missing_ok=True)
    if shim:
        env.update(LD_PRELOAD=str(shim), R1_FAULT_UNDER=str(folder / "out"), R1_FAULT_AT=str(at), R1_FAULT_LOG=str(log))
    done = subprocess.run([PROGRAM, *command], capture_output=True, text=True, cwd=folder, env=env, timeout=120)
    return done, log.read_text().split("\n") if log.exists() else []


def try_all(kind, tiny, shim, base):
    folder = base / kind
    folder.mkdir()
    (folder / "tiny").symlink_to(tiny)
    (folder / "recipe.yaml").write_text(RECIPES[kind])
    command = ["pipeline" if kind == "pipeline" else "train", "recipe.yaml"]
    done, log = run(folder, command, shim)
    assert done.returncode == 0, done.stderr
    calls = int(next(line for line in log if line.startswith("calls")).split()[1])
    wanted = results(folder / "out")
    assert calls > 20 and wanted, (calls, wanted)
    assert kind != "grpo" or any(line["reward_std"] > 0 for line in wanted["metrics.jsonl"]), wanted
    failed, unseen, kinds = 0, 0, {}
    for at in range(1 + (len(kind) % SHARE), calls + 1, SHARE):
        shutil.rmtree(folder / "out")
        done, log = run(folder, command, shim, at)
        assert log and not log[0].startswith("calls"), (kind, at, log)
        what, _, path = log[0].split(" ", 2)
        kinds[what] = kinds.get(what, 0) + 1
        said = done.stdout + done.stderr
        if done.returncode == 0:
            unseen += 1
        else:
            failed += 1
            assert "error: " in done.stderr and "out" in done.stderr.split("error: ")[-1], (kind, at, log[0], said[-1500:])
        again, _ = run(folder, command)
        assert again.returncode == 0, (kind, at, log[0], again.stderr[-1500:])
        now = results(folder / "out")
        other = {name: (wanted.get(name), now.get(name)) for name in wanted.keys() | now.keys() if wanted.get(name) != now.get(name)}
        assert not other, (kind, at, log[0], said[-800:], other)
    print(f"{kind}: {calls} calls, {failed + unseen} tried: {failed} ended the run, {unseen} did not matter; {kinds}")


with tempfile.TemporaryDirectory() as name:
    base = pathlib.Path(name).resolve()
    shim = base / "faults.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        print("skipped: no C compiler")
        sys.exit(77)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", shim, HERE / "file_faults.c", "-ldl"], check=True)
    subprocess.run([sys.executable, HERE / "tiny_model.py", base / "tiny", "--answers-end"], check=True)
    for kind in RECIPES:
        try_all(kind, base / "tiny", shim, base)
print("ok")
