"""What a stage's key and record hold: what each change re-runs, and what `keep: needed` keeps. usage: pipeline_keys.py R1_PROGRAM"""
import json
import pathlib
import shutil
import tempfile

from pipeline_support import make_tiny, outputs, r1, ran, table

CHAIN = """
schema: 1
kind: pipeline
output: {dir: out, keep: KEEP}
stages:
  - name: first
    recipe: &sft
      kind: sft
      model: {path: tiny, dtype: float32, device: cpu}
      data: {generate: {task: add, level: 1, n: 8, seed: 0}, template: chat}
      sft: {steps: 1, examples_per_update: 4, learning_rate: 1.0e-3, warmup_steps: 0}
      output: {save_every: 1, tensorboard: false}
  - name: beside
    needs: [first]
    recipe: *sft
    set: {sft.learning_rate: 2.0e-3}
  - name: last
    recipe: *sft
    set: {model.path: '${first.checkpoint}'}
"""


def make(folder, keep):
    make_tiny(folder)
    (folder / "p.yaml").write_text(CHAIN.replace("KEEP", keep))


def chain(folder, *args):
    return r1(folder, "pipeline", "p.yaml", *args)


def states(folder):
    return {name: state for name, (state, _) in table(folder).items()}


def keys(folder):
    return {name: key for name, (_, key) in table(folder).items()}


def main(tmp):
    folder = tmp / "keys"
    make(folder, "weights")
    assert ran(chain(folder)) == ["first", "beside", "last"]
    before = keys(folder)
    assert states(folder) == dict.fromkeys(before, "finished") and len(set(before.values())) == 3, before

    # A stage that another one needs, though nothing in that one's recipe refers to it: its settings count.
    text = (folder / "p.yaml").read_text()
    (folder / "p.yaml").write_text(text.replace("learning_rate: 1.0e-3", "learning_rate: 3.0e-3"))
    changed = keys(folder)
    assert all(changed[name] != before[name] for name in before), (before, changed)
    (folder / "p.yaml").write_text(text.replace("needs: [first]\n", "needs: []\n"))
    assert keys(folder)["beside"] != before["beside"] and keys(folder)["last"] == before["last"]
    (folder / "p.yaml").write_text(text)
    assert keys(folder) == before

    # A model folder's files count with their names, and with what they hold.
    tiny = folder / "tiny"
    (tiny / "notes.txt").write_text("one")
    with_notes = keys(folder)
    assert all(with_notes[name] != before[name] for name in before)
    (tiny / "notes.txt").rename(tiny / "other.txt")
    assert all(keys(folder)[name] not in (before[name], with_notes[name]) for name in before)
    (tiny / "other.txt").unlink()
    assert keys(folder) == before and states(folder) == dict.fromkeys(before, "finished")

    # The same key, but the result is another one than those that followed it were made from: those run again.
    record = folder / "out/stages/first" / before["first"] / "stage.json"
    whole = record.read_text()
    record.write_text(json.dumps({**json.loads(whole), "output": "0" * 32}))
    assert states(folder) == {"first": "finished", "beside": "input changed", "last": "input changed"}
    expected = outputs(folder)
    record.write_text(whole)
    assert states(folder) == dict.fromkeys(before, "finished")
    record.write_text(json.dumps({**json.loads(whole), "output": "0" * 32}))
    assert ran(chain(folder)) == ["beside", "last"]
    assert outputs(folder) == expected

    # Only what is referred to goes: the weights of the last stages are what the chain is for.
    needed = tmp / "needed"
    make(needed, "needed")
    assert ran(chain(needed)) == ["first", "beside", "last"]
    kept = {path.parts[-4] for path in needed.glob("out/stages/*/*/run/checkpoints")}
    assert kept == {"beside", "last"}, kept
    assert ran(chain(needed)) == []


folder = pathlib.Path(tempfile.mkdtemp())
try:
    main(folder)
finally:
    shutil.rmtree(folder, ignore_errors=True)
