# Plants one bug at a time into a right program, and says of each whether the data row's tests can tell it from the
# program; run in a box by benchmarks_data_test.cpp, with the row as row.json. An independent way from the judge: one
# process, plain exec, no proxies. Prints one JSON list of {op, line, program, told, input}.
#
# Operators, none of which changes a type: off_by_one (an integer n becomes n + 1), constant (an integer n becomes n - 1, a
# float is doubled and raised by one, True and False change places), comparison (< and <=, > and >=, == and !=, in and not
# in, is and is not change places), branch (the condition of if, while, a conditional or a filter is negated).
import ast, copy, json, os, resource, signal, sys

MOST = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
SECONDS = 0.5
row = json.load(open("row.json"))
human = "canonical_solution" in row
source = row["prompt"] + row["canonical_solution"] if human else row["code"]
first_line = row["prompt"].count("\n") + 1 if human else 1
SWAP = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn,
        ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}


def edits(tree):
    """(operator, line, edit) where edit(node of a copy) plants the bug; nodes are counted in walking order."""
    for index, node in enumerate(ast.walk(tree)):
        line = getattr(node, "lineno", 0)
        if line and line < first_line: continue
        if isinstance(node, ast.Constant):
            v = node.value
            if type(v) is bool: yield "constant", line, index, lambda n: setattr(n, "value", not n.value)
            elif type(v) is int:
                yield "off_by_one", line, index, lambda n: setattr(n, "value", n.value + 1)
                yield "constant", line, index, lambda n: setattr(n, "value", n.value - 1)
            elif type(v) is float: yield "constant", line, index, lambda n: setattr(n, "value", 2 * n.value + 1)
        elif isinstance(node, ast.Compare):
            yield "comparison", line, index, lambda n: n.ops.__setitem__(0, SWAP[type(n.ops[0])]())
        elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
            yield "branch", line, index, lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
        elif isinstance(node, ast.comprehension) and node.ifs:
            yield "branch", getattr(node.target, "lineno", 0), index, lambda n: n.ifs.__setitem__(0, ast.UnaryOp(ast.Not(), n.ifs[0]))


def mutants():
    tree = ast.parse(source)
    found = []
    for op, line, index, edit in edits(tree):
        changed = copy.deepcopy(tree)
        edit(next(n for i, n in enumerate(ast.walk(changed)) if i == index))
        text = ast.unparse(ast.fix_missing_locations(changed))
        if text != ast.unparse(tree): found.append({"op": op, "line": line - first_line + 1, "program": text})
    step = max(1, -(-len(found) // MOST))
    return found[::step]


def load(text):
    names = {"__name__": "solution"}
    exec(compile(text, "solution.py", "exec"), names)
    return names


def run_tests(names):
    if human:
        exec(row["test"], names)
        names["check"](names[row["entry_point"]])
        return
    if row.get("test_setup_code"): exec(row["test_setup_code"], names)
    for t in row["test_list"]: exec(t, names)


def apart(work, seconds=SECONDS):
    """work() in a copy of this process; -> what it returned as JSON, or None if it failed, raised or ran too long."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        sys.setrecursionlimit(1000)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2): os.dup2(null, fd)
        try:
            os.write(w, json.dumps(work()).encode()[:60000])
            os._exit(0)
        except BaseException: os._exit(1)
    os.close(w)
    data = b""
    while part := os.read(r, 65536): data += part
    os.close(r)
    status = os.waitpid(pid, 0)[1]
    try: return json.loads(data) if status == 0 else None
    except ValueError: return None


def variants(v, depth=0):
    """Values near v, of its type."""
    if type(v) is bool: return [not v]
    if type(v) is int: return [v + 1, v - 1, 0, 1, 2, -v, 2 * v, v + 7]
    if type(v) is float: return [v + 1, v - 0.5, 0.0, -v, v * 2, round(v)]
    if type(v) is str: return ["", v[1:], v[:-1], v + v[:1], v[::-1], v.swapcase(), v + " a", v + "1", v * 2]
    out = []
    if type(v) in (list, tuple):
        make = type(v)
        out = [make(x) for x in ([], v[1:], v[:-1], list(v) + list(v)[:1], list(v)[::-1], list(v) * 2, v[:1], v[:2])]
        if depth < 2:
            for i in list(range(min(len(v), 4))): out += [make(list(v[:i]) + [x] + list(v[i + 1:])) for x in variants(v[i], depth + 1)]
    elif type(v) is dict and depth < 2:
        for k in list(v)[:4]: out += [{**v, k: x} for x in variants(v[k], depth + 1)] + [{q: x for q, x in v.items() if q != k}]
    return out


def inputs():
    """Calls that the tests make, and calls near them: (name, arguments)."""
    names, calls = load(source), []
    def spy(name, f):
        def call(*args):
            if len(calls) < 12: calls.append((name, copy.deepcopy(args)))
            return f(*args)
        return call
    tested = row["test"] if human else " ".join(row["test_list"])
    for n, f in list(names.items()):
        if type(f).__name__ == "function" and (n == row.get("entry_point") or (not human and n + "(" in tested.replace(" ", ""))):
            names[n] = spy(n, f)
    try: run_tests(names)
    except BaseException: pass
    out = []
    for name, args in calls:
        for i, a in enumerate(args): out += [(name, args[:i] + (x,) + args[i + 1:]) for x in variants(a)]
    return out[:400]


def outcome(f, args):
    """What a call gives; None: it raises, so the input is outside of what the program is for."""
    class Late(Exception): pass
    def late(*_): raise Late
    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
    try: value = f(*copy.deepcopy(args))
    except Late: return "late"
    except Exception as e: return None
    finally: signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return type(value).__name__ + repr(value)[:2000]


def difference(text):
    """An input near the tests' on which the two programs differ, or "" and how many were tried."""
    tried, right, wrong = 0, load(source), load(text)
    for name, args in inputs():
        want = outcome(right[name], args)
        if want is None or want == "late": continue
        tried += 1
        got = outcome(wrong[name], args)
        if got != want: return [f"{name}({', '.join(map(repr, args))})"[:120], tried]
    return ["", tried]


resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
result = []
for m in mutants():
    m["told"] = apart(lambda: (run_tests(load(m["program"])), True)[1]) is None
    if not m["told"]: m["input"], m["tried"] = apart(lambda: difference(m["program"]), 5) or ["", 0]
    result.append(m)
print(json.dumps(result))
