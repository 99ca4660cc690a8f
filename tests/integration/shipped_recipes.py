"""Every recipes/*.yaml is read as `r1 pipeline --dry-run` reads it: as its kind does, data that is not there left out. usage: shipped_recipes.py R1_PROGRAM"""
import pathlib
import subprocess
import sys
import tempfile

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "recipes"
PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
bad = []
with tempfile.TemporaryDirectory() as tmp:
    wrapper = pathlib.Path(tmp, "one.yaml")
    for recipe in sorted(RECIPES.glob("*.yaml")):
        chain = "kind: pipeline" in recipe.read_text()
        if not chain:
            wrapper.write_text(f"kind: pipeline\nstages: [{{name: only, recipe: '{recipe}'}}]\n")
        done = subprocess.run([PROGRAM, "pipeline", recipe if chain else wrapper, "--dry-run"], capture_output=True, text=True, cwd=tmp)
        if done.returncode != 0 or ", key " not in done.stdout:
            bad.append(f"{recipe.name}: {done.stderr.strip()}")
assert not bad, "\n".join(bad)
