"""The program r1. `recipes()` is the folder of its recipes."""
import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def recipes() -> Path:
    return _HERE / "recipes"


def main() -> None:
    """Becomes the program: the same process, so that signals and exit codes are its own."""
    program = str(_HERE / "bin" / "r1")
    os.execv(program, [program, *sys.argv[1:]])
