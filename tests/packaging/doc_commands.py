"""Runs every fenced `bash` block of a page of the documentation, in order, in one shell.

A block after `<!-- slow -->` runs with --slow alone, one after `<!-- setup -->` in the checkout itself and with --slow alone (it builds).
The shell stands in an empty folder that has the checkout's recipes and, if a model is given, models/SmolLM2-135M-Instruct; it stops
at the first command that fails (`! command` is one that must). usage: doc_commands.py PAGE R1_PROGRAM CHECKOUT [--slow] [--model DIR]
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"^(?:<!-- (?P<mark>slow|setup) -->\n)?```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```$", re.M | re.S)


def blocks(text):
    """(mark, line number, body) of each bash block. A block of another shell's name would escape the test: refused."""
    found = []
    for match in BLOCK.finditer(text):
        language = match["language"]
        assert language not in ("sh", "shell", "console"), f"a {language} block is not run; call it bash"
        if language == "bash":
            found.append((match["mark"], text.count("\n", 0, match.start("body")) + 1, match["body"]))
    return found


def script(found, slow):
    """`! command` succeeds where the command fails; bash's own `set -e` ignores such lines, so they are checked by hand."""
    out = ["set -euo pipefail"]
    for mark, line, body in found:
        if mark == "setup" or (mark == "slow" and not slow):
            continue
        body = re.sub(r"^! (.*)$", r"if \1; then echo 'should have failed: \1' >&2; exit 1; fi", body, flags=re.M)
        out.append(f"echo '== line {line}'\n{body}")
    return "\n".join(out)


def main():
    arguments = argparse.ArgumentParser()
    for name in ("page", "r1", "checkout"):
        arguments.add_argument(name, type=pathlib.Path)
    arguments.add_argument("--slow", action="store_true")
    arguments.add_argument("--model", default="")
    given = arguments.parse_args()
    found = blocks(given.page.read_text())
    assert found, f"{given.page} has no bash block"
    if "models/" in given.page.read_text() and not pathlib.Path(given.model or "/nonexistent").exists():
        print("skipped: R1_TEST_MODEL names no model")
        return 77
    with tempfile.TemporaryDirectory() as tmp:
        work = pathlib.Path(tmp)
        programs = work / "bin"
        programs.mkdir()
        (programs / "r1").symlink_to(given.r1.resolve())
        (work / "recipes").symlink_to((given.checkout / "recipes").resolve())
        if given.model:
            (work / "models").mkdir()
            (work / "models" / "SmolLM2-135M-Instruct").symlink_to(pathlib.Path(given.model).resolve())
        environment = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}", NO_COLOR="1")
        if given.slow:
            for mark, line, body in found:
                if mark == "setup":
                    subprocess.run(["bash", "-euo", "pipefail", "-c", body], cwd=given.checkout, check=True, stdin=subprocess.DEVNULL)
        done = subprocess.run(["bash", "-c", script(found, given.slow)], cwd=work, env=environment, stdin=subprocess.DEVNULL)
        print(f"{len(found)} blocks of {given.page.name}, exit code {done.returncode}")
        return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
