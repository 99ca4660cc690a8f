"""r1 train on several ranks, as launchers start it: the weights of one process, killed ranks, stops, other numbers of ranks.
usage: ranks.py R1_PROGRAM EXAMPLES_FOLDER [kinds|torchrun|kills|elastic|shared|experts|side]   exit code 77 = skipped (no torchrun: PATH, or R1_TORCHRUN)"""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

R1, EXAMPLES = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
MODE = sys.argv[3] if len(sys.argv) > 3 else "launch"
HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 6

GRPO = """
kind: grpo
model: {path: MODEL, dtype: float32, device: cpu}
data: {generate: {task: max, level: 1, n: 40, seed: 0}}
rollout: {samples_per_prompt: 4, max_new_tokens: 8}
rewards: [{name: math, extract: last_number}, {name: length, max: 4}]
rl: {steps: 6, prompts_per_rollout: 5, updates_per_rollout: 2, learning_rate: 1.0e-3, warmup_steps: 0}
train: {lanes: 2, threads: 1, comm_silence_s: 20, comm_start_timeout_s: 60}
output: {save_every: 2, keep: 1, tensorboard: false}
"""
SFT = """
kind: sft
model: {path: MODEL, dtype: bfloat16, device: cpu}
data: {generate: {task: add, level: 1, n: 30, seed: 0}}
sft: {steps: 6, examples_per_update: 7, learning_rate: 1.0e-3, warmup_steps: 1}
validation: {share: 0.2, every: 3}
train: {lanes: 2, threads: 1, tokens_per_micro_batch: 64}
output: {save_every: 2, keep: 1, tensorboard: false}
"""
COMMON = """
model: {path: MODEL, dtype: bfloat16, device: cpu}
train: {lanes: 2, threads: 1, tokens_per_micro_batch: 64}
output: {save_every: 2, keep: 1, tensorboard: false}
"""
PAIRS = """
data: {generate: {task: add, level: 1, n: 30, seed: 0}}
validation: {share: 0.2, every: 2}
lora: {rank: 4, dropout: 0.2}
"""
TEXTS = """
data: {generate: {task: add, level: 1, n: 30, seed: 0}}
sft: {steps: 4, examples_per_update: 7, learning_rate: 1.0e-3}
validation: {share: 0.2, every: 2}
"""
# Of the other kinds; what a recipe with lora or a sharded optimizer could get wrong is in them.
KINDS = {
    "dpo": COMMON + PAIRS + "kind: dpo\ndpo: {examples_per_update: 7, learning_rate: 1.0e-3}\n",
    "reward_model": COMMON + PAIRS + "kind: reward_model\nreward_model: {examples_per_update: 7, learning_rate: 1.0e-3}\n",
    "logits": COMMON + TEXTS + "kind: distill\ndistill: {mode: logits, teacher: TEACHER}\n",
    "stored": COMMON + TEXTS + "kind: distill\ndistill: {mode: logits, teacher: TEACHER, top_k: 5}\n",
    "gkd": COMMON + TEXTS + "kind: distill\ndistill: {mode: gkd, teacher: TEACHER, student_share: 0.5}\nrollout: {max_new_tokens: 8}\n",
    "on_policy": COMMON + "kind: distill\ndistill: {mode: on_policy, teacher: TEACHER}\ndata: {generate: {task: add, level: 1, n: 30, seed: 0}}\n"
                 "rollout: {samples_per_prompt: 2, max_new_tokens: 8}\nrl: {steps: 4, prompts_per_rollout: 5, warmup_steps: 0}\n",
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def clean_environment(**more):
    drop = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "SLURM_", "OMPI_", "PMI_", "TORCHELASTIC_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
    return {**env, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(free_port()), "R1": R1, **more}


def rank_environment(rank, world, port):
    return clean_environment(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1",
                             MASTER_PORT=str(port))


def run(command, env=None, code=0):
    done = subprocess.run(command, env=env or clean_environment(), capture_output=True, text=True, timeout=120)
    if done.returncode != code:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}, wanted {code}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done.stdout + done.stderr


def digest(folder):
    with open(f"{folder}/checkpoints/latest/model.safetensors", "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def check(condition, text):
    if not condition:
        sys.exit(text)


def metrics(folder):
    """What decides nothing but time is left out."""
    out = []
    for line in open(f"{folder}/metrics.jsonl"):
        row = json.loads(line)
        out.append({k: v for k, v in row.items() if not k.startswith(("timing", "time", "step_time", "perf/", "memory/", "rollout/", "eval/seconds", "wall"))})
    return out


class Ranks:
    """Processes started by hand."""

    def __init__(self, world, recipe, folder, *overrides):
        port = free_port()
        self.processes = [subprocess.Popen([R1, "-q", "train", recipe, f"output.dir={folder}", *overrides], env=rank_environment(r, world, port),
                                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for r in range(world)]

    def wait(self):
        return [(p.communicate(timeout=120)[1], p.returncode) for p in self.processes]


def launch(work, recipes):
    bin_dir = f"{work}/bin"
    os.makedirs(bin_dir)
    # Stand-ins that start the processes with the variables of Slurm's and Open MPI's own.
    with open(f"{bin_dir}/srun", "w") as f:
        f.write("#!/usr/bin/env bash\nset -eu\nwhile [[ $1 == --* ]]; do shift; done\nfor r in 0 1; do\n"
                "SLURM_PROCID=$r SLURM_NTASKS=2 SLURM_LOCALID=$r SLURM_NTASKS_PER_NODE=2 SLURM_STEP_NODELIST=localhost \"$@\" & p[$r]=$!\ndone\n"
                "wait ${p[0]} && wait ${p[1]}\n")
    with open(f"{bin_dir}/mpirun", "w") as f:
        f.write("#!/usr/bin/env bash\nset -eu\nwhile [[ $1 == -* ]]; do case $1 in -np|-x|--host) shift 2;; *) shift;; esac; done\nfor r in 0 1; do\n"
                "OMPI_COMM_WORLD_RANK=$r OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=$r OMPI_COMM_WORLD_LOCAL_SIZE=2 \"$@\" & p[$r]=$!\ndone\n"
                "wait ${p[0]} && wait ${p[1]}\n")
    for name in ("srun", "mpirun"):
        os.chmod(f"{bin_dir}/{name}", 0o755)
    env = lambda **more: clean_environment(PATH=bin_dir + ":" + os.environ["PATH"], RANKS="2", **more)
    for kind, recipe in recipes.items():
        run([R1, "-q", "train", recipe, f"output.dir={work}/{kind}_one"])
        want = digest(f"{work}/{kind}_one")
        starts = [("by_hand", [f"{EXAMPLES}/cluster/by_hand.sh", recipe], env()), ("zero", [f"{EXAMPLES}/cluster/by_hand.sh", recipe, "train.zero=1"], env())]
        if kind == "grpo":
            slurm = env(SLURM_JOB_ID=str(random.randrange(10**6)))
            del slurm["MASTER_PORT"]
            starts += [("slurm", ["bash", f"{EXAMPLES}/cluster/slurm.sbatch", recipe], slurm), ("mpirun", [f"{EXAMPLES}/cluster/mpirun.sh", recipe], env())]
        for name, command, variables in starts:
            folder = f"{work}/{kind}_{name}"
            text = run(command + [f"output.dir={folder}"], variables)
            check(digest(folder) == want, f"{kind} by {name}: other weights than one process's")
            check(metrics(folder) == metrics(f"{work}/{kind}_one"), f"{kind} by {name}: other metrics than one process's")
            check(text.count("ranks     2") == 1, f"{kind} by {name}: the start block stands there {text.count('ranks     2')} times\n{text}")
            print(f"{kind} by {name}: weights and metrics of one process")
        # Sharded weights: the bits of a sharded gradient, the curve of one process; and refused by name where they cannot be.
        for zero in (2, 3):
            for text, code in Ranks(3, recipe, f"{work}/{kind}_zero{zero}", f"train.zero={zero}", "train.lanes=3").wait():
                check(code == 0, text)
        check(digest(f"{work}/{kind}_zero3") == digest(f"{work}/{kind}_zero2"), f"{kind}: train.zero 3 gives other weights than 2")
        check(metrics(f"{work}/{kind}_zero3") == metrics(f"{work}/{kind}_zero2"), f"{kind}: train.zero 3 gives other metrics than 2")
        one, three = ([row["loss"] for row in metrics(f"{work}/{kind}_{name}") if "loss" in row] for name in ("one", "zero3"))
        check(len(one) == len(three) >= STEPS and all(abs(a - b) <= 2e-3 * max(1, abs(a)) for a, b in zip(one, three)), f"{kind}: losses {one}, with train.zero 3 {three}")
        for text, code in Ranks(2, recipe, f"{work}/{kind}_lora", "train.zero=3", "lora.rank=4").wait():
            check(code in (1, 2) and "lora merges its pairs into weights that every rank has whole" in text, text)
        print(f"{kind} with weights in shares: the numbers of a sharded gradient")
    # Variables of half a launcher are refused before any work.
    text = run([R1, "train", recipes["sft"]], clean_environment(RANK="0"), 2)
    check("RANK but not WORLD_SIZE" in text, text)
    text = run([R1, "train", recipes["grpo"], "train.lanes=1", "train.comm_start_timeout_s=2"], rank_environment(1, 2, free_port()), 1)
    check("found no rank 0 at 127.0.0.1" in text, text)


def kinds(work, _):
    subprocess.run([sys.executable, f"{HERE}/tiny_model.py", f"{work}/teacher", "1"], check=True)
    shutil.copy(f"{work}/model/tokenizer_config.json", f"{work}/teacher")
    for kind, text in KINDS.items():
        recipe = f"{work}/{kind}.yaml"
        with open(recipe, "w") as f:
            f.write(text.replace("MODEL", f"{work}/model").replace("TEACHER", f"{work}/teacher"))
        run([R1, "-q", "train", recipe, f"output.dir={work}/{kind}_one"])
        run([R1, "-q", "train", recipe, "train.lanes=1", f"output.dir={work}/{kind}_lane"])
        check(metrics(f"{work}/{kind}_lane") != metrics(f"{work}/{kind}_one"), f"{kind}: train.lanes changes no number")
        for text, code in Ranks(2, recipe, f"{work}/{kind}_two", "train.zero=1").wait():
            check(code == 0, text)
        check(digest(f"{work}/{kind}_two") == digest(f"{work}/{kind}_one"), f"{kind} on two ranks: other weights than one process's")
        check(metrics(f"{work}/{kind}_two") == metrics(f"{work}/{kind}_one"), f"{kind} on two ranks: other metrics than one process's")
        print(f"{kind} on two ranks: weights and metrics of one process")


def torchrun(work, recipes):
    program = os.environ.get("R1_TORCHRUN") or shutil.which("torchrun")
    if not program:
        print("skipped: no torchrun (PATH, R1_TORCHRUN)")
        sys.exit(77)
    recipe = recipes["grpo"]
    run([R1, "-q", "train", recipe, f"output.dir={work}/one"])
    env = clean_environment(RANKS="2", PATH=os.path.dirname(program) + ":" + os.environ["PATH"])
    text = run([f"{EXAMPLES}/cluster/torchrun.sh", recipe, f"output.dir={work}/two"], env)
    check("2 (torchrun)" in text, text)
    check(digest(f"{work}/two") == digest(f"{work}/one"), "torchrun: other weights than one process's")
    print("torchrun: weights of one process")
    run([R1, "-q", "train", recipe, f"output.dir={work}/longer", *ELASTIC])
    # A rank that dies: torchrun starts both again, with an identity of its own.
    folder = f"{work}/restarted"
    command = [program, "--no-python", "--max-restarts=1", "--nproc-per-node=2", f"--master-port={free_port()}", R1, "-q", "train", recipe, f"output.dir={folder}", *ELASTIC]
    process = subprocess.Popen(command, env={**env, "R1_TEST_RUN": "restarted"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    kill_at(process, folder, 10, "R1_TEST_RUN=restarted", 1)
    text = process.communicate(timeout=120)[1]
    check(process.returncode == 0 and digest(folder) == digest(f"{work}/longer"), text)
    print("torchrun --max-restarts=1, a rank killed: weights of one process")


def rank_process(mark, rank):
    """The process of a rank that was started with this variable; None if there is none now."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            variables = open(f"/proc/{pid}/environ", "rb").read().split(b"\0")
            program = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            continue
        if mark.encode() in variables and f"RANK={rank}".encode() in variables and program == R1:
            return int(pid)
    return None


def updates(folder):
    return sum(1 for _ in open(f"{folder}/metrics.jsonl")) if os.path.exists(f"{folder}/metrics.jsonl") else 0


def kill_at(process, folder, update, mark, rank):
    """SIGKILL to a rank once the run has come to an update."""
    until = time.time() + 120
    while process.poll() is None and time.time() < until:
        pid = rank_process(mark, rank) if updates(folder) >= update else None
        if pid:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.02)
    sys.exit(f"rank {rank} was not there to be killed at update {update}: {process.communicate(timeout=10)}")


ELASTIC = ["rl.steps=60", "output.save_every=4"]


def elastic(work, recipes):
    """A dead rank, another number of ranks after each: the run goes on by itself to the weights of one that was left alone."""
    recipe = recipes["grpo"]
    run([R1, "-q", "train", recipe, f"output.dir={work}/one", *ELASTIC])
    folder, sizes = f"{work}/elastic", f"{work}/sizes"
    with open(sizes, "w") as f:
        f.write("2\n1\n2\n")
    # Takes the next number each time.
    env = clean_environment(R1_TEST_RUN="elastic", RANKS_COMMAND=f"head -n 1 '{sizes}'; sed -i 1d '{sizes}'", RESTARTS="2")
    process = subprocess.Popen([f"{EXAMPLES}/cluster/elastic.sh", recipe, f"output.dir={folder}", *ELASTIC], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    kill_at(process, folder, 10, "R1_TEST_RUN=elastic", 1)
    while process.poll() is None and not open(sizes).read().strip() == "2":  # the second start has begun
        time.sleep(0.02)
    kill_at(process, folder, 24, "R1_TEST_RUN=elastic", 0)
    text = process.communicate(timeout=120)[1]
    check(process.returncode == 0, text)
    check(re.search(r"r1: error: rank 1 \(process \d+ on \S+\) is lost.*\n(.*Killed.*\n)?elastic: 2 ranks ended with", text), text)
    check("elastic: 1 ranks ended with 137; start 2 of 2" in text, text)
    check(digest(folder) == digest(f"{work}/one"), f"other weights than of the run that was left alone\n{text}")
    print("two ranks, one killed; one rank, killed; two ranks to the end: the weights of one process")
    # What starting again cannot mend ends at once, and a stop is one.
    text = run([f"{EXAMPLES}/cluster/elastic.sh", recipe, "rl.steps=no"], clean_environment(), 2)
    check("elastic:" not in text, text)


def kills(work, recipes):
    recipe = recipes["grpo"]
    seed = random.randrange(10**6)
    print("seed", seed)
    draw = random.Random(seed)
    run([R1, "-q", "train", recipe, "train.lanes=3", f"output.dir={work}/one"])
    whole = Ranks(3, recipe, f"{work}/whole", "train.lanes=3")
    start = time.time()
    for text, code in whole.wait():
        check(code == 0, text)
    took = time.time() - start
    want = digest(f"{work}/whole")
    done = 0
    for attempt in range(12):
        if done == 3:
            break
        folder = f"{work}/killed{attempt}"
        ranks = Ranks(3, recipe, folder, "train.lanes=3")
        victim = draw.randrange(3)
        time.sleep(took * draw.uniform(0.2, 0.9))
        ranks.processes[victim].kill()
        ended = ranks.wait()
        if ended[victim][1] != -signal.SIGKILL:
            continue  # it was faster
        if all(code == 0 for r, (_, code) in enumerate(ended) if r != victim):
            continue  # killed after its goodbye
        done += 1
        for r, (text, code) in enumerate(ended):
            if r == victim:
                continue
            last = text.strip().splitlines()[-1]
            check(code == 1 and last.startswith(f"r1: error: rank {victim}"), f"rank {r} ended with {code}:\n{text}")
        print("killed rank", victim, "->", last)
        for text, code in Ranks(3, recipe, folder, "train.lanes=3").wait():
            check(code == 0, text)
        check(digest(folder) == want, "the resumed run has other weights")
    check(done == 3, f"only {done} kills hit")
    # SIGTERM to one rank: all save at the same place and exit with 130; two ranks and then one go on.
    folder = f"{work}/stopped"
    ranks = Ranks(2, recipe, folder, "train.lanes=4", "rl.steps=400", "output.save_every=0")
    while not os.path.exists(f"{folder}/metrics.jsonl") or sum(1 for _ in open(f"{folder}/metrics.jsonl")) < 3:
        time.sleep(0.05)
    ranks.processes[1].terminate()
    for text, code in ranks.wait():
        check(code == 130, f"{code}: {text}")
    at = max(int(d[5:]) for d in os.listdir(f"{folder}/checkpoints") if d.startswith("step_"))
    check(at >= 3, f"saved at step {at}")
    more = f"rl.steps={at + 4}"
    copy = f"{work}/stopped_copy"
    shutil.copytree(folder, copy, symlinks=True)
    for text, code in Ranks(4, recipe, folder, "train.lanes=4", more).wait():
        check(code == 0, text)
    run([R1, "-q", "train", recipe, "train.lanes=4", f"output.dir={copy}", more])
    weights = [open(f"{d}/checkpoints/step_{at + 4:06d}/model.safetensors", "rb").read() for d in (folder, copy)]
    check(weights[0] == weights[1], "a run stopped on two ranks goes on to other weights on four than on one")
    print("stopped at step", at, "on 2 ranks; goes on on 4 and on 1 to the same weights")


def near(got, want, what):
    """Losses, norms, rewards of each update: float32 sums in other orders."""
    check(len(got) == len(want), f"{what}: {len(got)} updates instead of {len(want)}")
    for a, b in zip(got, want):
        for key in ("loss", "grad_norm", "reward", "mean_token_accuracy"):
            if key in b:
                check(abs(a[key] - b[key]) <= 1e-4 * max(1, abs(b[key])), f"{what}, step {b['step']}: {key} is {a[key]} instead of {b[key]}")


def shared(work, recipes):
    for kind, recipe in recipes.items():
        plain = ["model.dtype=float32", "train.lanes=1"]
        run([R1, "-q", "train", recipe, f"output.dir={work}/{kind}_one", *plain])
        want = metrics(f"{work}/{kind}_one")
        for key in ("tensor_parallel", "sequence_parallel"):
            folder = f"{work}/{kind}_{key}"
            # Of grpo four updates on two ranks, the rest in one process.
            part = ["rl.steps=4"] if kind == "grpo" else []
            for text, code in Ranks(2, recipe, folder, *plain, f"train.{key}=2", *part).wait():
                check(code == 0, text)
            if part:
                run([R1, "-q", "train", recipe, f"output.dir={folder}", *plain])
            got = metrics(folder)
            near(got, want, f"{kind} {key}")
            if kind == "grpo":
                check(all(row.get("mismatch/max_abs_logp", 0) == 0 for row in got), f"{key}: rollout and learner differ")
            print(f"{kind} {key} 2{', then one process' if part else ''}: the numbers of one process")
    # What is not there is refused by name, before any work.
    refused = lambda *more: Ranks(2, recipes["grpo"], f"{work}/refused", *more).wait()[0]
    for more, wanted in ((("train.tensor_parallel=3",), "train.tensor_parallel is 3, but 2 ranks are not a multiple of it"),
                         (("train.tensor_parallel=2", "lora.rank=4"), "train.tensor_parallel and lora do not go together"),
                         (("train.sequence_parallel=2", "train.tensor_parallel=2"), "all but one of them must be 1")):
        text, code = refused(*more)
        check(code in (1, 2) and wanted in text, f"{more} ended with {code}:\n{text}")
    text = run([R1, "train", recipes["sft"], "train.sequence_parallel=2"], code=2)
    check("train.sequence_parallel is 2, but 1 rank is not a multiple of it" in text, text)


def side(work, recipes):
    """Rollout and learning side by side on two ranks, unfinished groups given up too: the bits of one process."""
    reward = "rewards=[{name: regex, pattern: '[0-9]'}]"
    for staleness in (1, 2):
        for more in ([], ["rl.early_stop={enabled: true, oversample: 1.4}"]):
            settings = ["rl.updates_per_rollout=1", "rl.prompts_per_rollout=6", f"rl.max_staleness={staleness}", reward, *more]
            one, two = (f"{work}/{n}_{staleness}_{len(more)}" for n in ("one", "two"))
            run([R1, "-q", "train", recipes["grpo"], f"output.dir={one}", *settings])
            for text, code in Ranks(2, recipes["grpo"], two, *settings).wait():
                check(code == 0, text)
            check(digest(two) == digest(one), f"staleness {staleness} {more}: other weights than of one process")
            check(max(row["staleness/max"] for row in metrics(two)) == staleness, f"staleness {staleness}: none was seen")
            print(f"staleness {staleness}{', early stop' if more else ''}: two ranks have the weights of one process")


def experts(work, recipes):
    """The model of tests/golden/model/tiny-qwen3-moe's kind: six experts on two processes."""
    for kind, recipe in recipes.items():
        plain = ["model.dtype=float32", "train.lanes=1"]
        if kind == "grpo":  # a reward that this model's answers earn at times
            plain.append("rewards=[{name: regex, pattern: '[0-9]'}]")
        run([R1, "-q", "train", recipe, f"output.dir={work}/{kind}_one", *plain])
        want = metrics(f"{work}/{kind}_one")
        # Of grpo four updates on the first number of ranks, two more on the second; of sft all at once, on two.
        for first, second in ((2, 1), (1, 2)) if kind == "grpo" else ((2, 2),):
            folder = f"{work}/{kind}_{first}_{second}"
            for world, steps in ((first, ["rl.steps=4"]), (second, [])) if kind == "grpo" else ((2, []),):
                if world == 1:
                    run([R1, "-q", "train", recipe, f"output.dir={folder}", *plain, *steps])
                else:
                    for text, code in Ranks(2, recipe, folder, *plain, "train.expert_parallel=2", *steps).wait():
                        check(code == 0, text)
            got = metrics(folder)
            near(got, want, f"{kind}, {first} ranks and then {second}")
            if kind == "grpo":
                check(all(row.get("mismatch/max_abs_logp", 0) == 0 for row in got), f"{first} ranks: rollout and learner differ")
                loads = [row["moe/load_max_over_mean"] for row in got if "moe/load_max_over_mean" in row]
                check(len(loads) >= 4 and all(1 <= x <= 6 for x in loads), f"loads {loads}")
                check(all(row.get("moe/dropped", 0) == 0 for row in got), "tokens were dropped")
            print(f"{kind} on {first}{f' and then {second}' if second != first else ''} ranks: the numbers of one process")


def main():
    work = tempfile.mkdtemp()
    try:
        subprocess.run([sys.executable, f"{HERE}/tiny_model.py", f"{work}/model", "--answers-end", *{"shared": ["--two-kv-heads"], "experts": ["--experts"]}.get(MODE, [])], check=True)
        recipes = {}
        for kind, text in (("grpo", GRPO), ("sft", SFT)):
            recipes[kind] = f"{work}/{kind}.yaml"
            with open(recipes[kind], "w") as f:
                f.write(text.replace("MODEL", f"{work}/model"))
        {"launch": launch, "kinds": kinds, "torchrun": torchrun, "kills": kills, "elastic": elastic, "shared": shared, "experts": experts, "side": side}[MODE](work, recipes)
    finally:
        shutil.rmtree(work)


main()
