"""What the tests of `r1 pipeline` share: the program's calls, a tiny model, what a chain has left in its folder."""
import json
import pathlib
import re
import resource
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())


def r1(folder, *args, code=0, words=(), limit=0):
    """Screen and errors of one call. With `limit` no file may grow beyond so many bytes; writing fails with an error then, as on a full disk."""
    def bound():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # inherited: the write gets an error, the program no signal
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, cwd=folder, preexec_fn=bound if limit else None, restore_signals=not limit)
    both = done.stdout + done.stderr
    assert done.returncode == code, (args, done.returncode, both[-3000:])
    for word in words:
        assert word in both, (args, word, both[-3000:])
    return both


def make_tiny(folder):
    """FOLDER/tiny, a model that can be trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, HERE / "tiny_model.py", folder / "tiny", "--answers-end"], check=True)


def table(folder, recipe="p.yaml"):
    """stage -> (state, key), from the screen of --status."""
    line = re.compile(r"(\w+) +\w+ +(finished|unfinished|input changed|dropped|to do) +([0-9a-f]{16})\b")
    return {m[1]: (m[2], m[3]) for m in map(line.match, r1(folder, "pipeline", recipe, "--status").splitlines()) if m}


def outputs(folder, out="out"):
    """stage -> digest of its result."""
    records = [json.loads(f.read_text()) for f in folder.glob(out + "/stages/*/*/stage.json")]
    return {r["stage"]: r["output"] for r in records}


def ran(text):
    """The stages that a call ran, from its screen."""
    return [m.group(1) for m in re.finditer(r"^stage \d+/\d+ (\w+) \([^)]*\)(.*)$", text, re.M) if not m.group(2).startswith(": finished")]
