"""Every recipes/*.yaml is read as its kind does, data that is not there left out: by `r1 plan`, with an estimate of each stage's memory and time, and, if
it is a pipeline, by `r1 pipeline --dry-run`. usage: shipped_recipes.py R1_PROGRAM"""
import pathlib
import re
import subprocess
import sys
import tempfile

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"
PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
bad = []
with tempfile.TemporaryDirectory() as tmp:
    for recipe in sorted(RECIPES.glob("*.yaml")):
        if "kind: pipeline" in recipe.read_text():
            done = subprocess.run([PROGRAM, "pipeline", recipe, "--dry-run"], capture_output=True, text=True, cwd=tmp)
            if done.returncode != 0 or ", key " not in done.stdout or "in all about" not in done.stdout:
                bad.append(f"{recipe.name}: {done.stderr.strip()}")
        plan = subprocess.run([PROGRAM, "plan", recipe, "--device", "h200"], capture_output=True, text=True, cwd=tmp)
        stages = re.findall(r"^ ?\d+ (\w+) \((\w+)\)\n((?:     .*\n)*)", plan.stdout, re.M)
        if plan.returncode != 0 or not stages or "in all about" not in plan.stdout:
            bad.append(f"{recipe.name}: r1 plan: {plan.stderr.strip()} {plan.stdout[:200]}")
        for name, kind, lines in stages:
            # A set that is mixed from others, and what a server writes, take no time worth an estimate.
            idle = kind == "generate" and ("a mixture of" in lines or name == "general_data")
            if not idle and "time    about" not in lines or kind in ("grpo", "sft", "dpo", "reward_model", "distill") and "memory  " not in lines:
                # Models that are not here and of no known size (teachers and bases that a user names) have none.
                if "no estimate: models/" not in lines:
                    bad.append(f"{recipe.name}: no estimate of {name}: {lines}")
assert not bad, "\n".join(bad)
