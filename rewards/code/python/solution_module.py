import os, sys, types


def private_channel():
    """The descriptors 0 and 1 leave the program's hands: it reads nothing, and what it prints goes to stderr."""
    channel = os.dup(0), os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    return channel


def load_solution(prelude="", prepare=None):
    """Runs the program as a module that is not __main__; -> its names. A program that begins with an indented line goes on
    where the prelude ends. prepare(names) runs between the two."""
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    names = module.__dict__
    names["__file__"] = "solution.py"
    with open("solution.py", encoding="utf-8") as f: program = f.read()
    goes_on = next((line[0] in " \t" for line in program.splitlines() if line.strip()), False)
    if prelude:
        exec(compile(prelude, "prelude.py", "exec"), names)
        if prepare: prepare(names)
    exec(compile(prelude + program if goes_on else program, "solution.py", "exec"), names)
    return names


def find_name(names, name):
    """A name of the program, or a method of its class Solution, as LeetCode writes them. LookupError if there is neither."""
    if name in names: return names[name]
    solution = names.get("Solution")
    if isinstance(solution, type) and not name.startswith("__") and hasattr(solution, name): return getattr(solution(), name)
    raise LookupError(f"the program defines no '{name}'")
