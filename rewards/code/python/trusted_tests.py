# Runs in the tests' own box after value_codec.py: the data set's assert statements, with the program's functions as
# proxies that speak to the other box. Nothing of the submission is executed here; values come in by value.
import ast, builtins, importlib, sys, types


class Lost(BaseException):
    """The program's box went away or broke the protocol. No `except Exception` of a test catches it."""


USES = [(u,) for u in ("call", "get", "item", "len", "list", "text", "true", "next")]


class Line:
    def __init__(self, fd, out, most):
        self.fd, self.out, self.most = fd, out, most
        self.lost = ""     # why nothing more can be asked
        self.uses = 0      # calls answered, plain values read
        self.remotes = {}
        self.codec = Codec({}, number_of, self.remote)

    def remote(self, number, name):
        if number not in self.remotes: self.remotes[number] = Remote(self, number, name)
        return self.remotes[number]

    def ask(self, *request):
        """-> the value; raises what the program raised, marked as its own, or Lost."""
        if self.lost: raise Lost
        text = self.codec.dump(list(request)) if request else ""
        try:
            if request: send(self.fd, text)
            answer = receive(self.fd, self.most)
        except (EOFError, OSError):
            self.lose("lost")
        except ValueError:
            self.lose("output")
        try:
            kind, *rest = self.codec.load(answer)
            if kind == "ok": (value,) = rest
            elif kind == "raise": name, kinds, what = rest
            else: raise ValueError("no answer")
            if kind == "raise" and not all(type(x) is str for x in [name, what, *kinds]): raise ValueError("texts")
        except (ValueError, TypeError):
            self.lose("malformed")
        plain_name = kind == "ok" and type(value) is not Remote and request[:1] in (("name",), ("entry",))
        if plain_name or request[:1] in USES:
            if not self.uses: os.write(self.out, b"used\n")
            self.uses += 1
        if kind == "raise": raise self.error(name, kinds, what)
        return value

    def lose(self, why):
        self.lost = why
        raise Lost

    def error(self, name, kinds, what):
        # Never an exception that ends a loop of the test silently.
        for kind in kinds:
            cls = getattr(builtins, kind, None)
            if isinstance(cls, type) and issubclass(cls, Exception) and cls not in (StopIteration, StopAsyncIteration):
                try: e = cls(what)
                except TypeError: continue
                break
        else:
            e = Exception(what)
        e.of_program = name
        return e


class Remote:
    """Something of the program that has no plain value. It equals nothing but itself."""
    __slots__ = ("_line", "_number", "_name")

    def __init__(self, line, number, name):
        for key, v in (("_line", line), ("_number", number), ("_name", name)): object.__setattr__(self, key, v)

    def __call__(self, *args, **kwargs): return self._line.ask("call", self, args, kwargs)
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return self._line.ask("get", self, name)
    def __setattr__(self, name, value): self._line.ask("set", self, name, value)
    def __getitem__(self, key): return self._line.ask("item", self, key)
    def __setitem__(self, key, value): self._line.ask("put", self, key, value)
    def __len__(self): return self._line.ask("len", self)
    def __iter__(self): return iter(exact(list, self._line.ask("list", self)))
    def __next__(self):
        got = exact(list, self._line.ask("next", self))
        if not got: raise StopIteration
        return got[0]
    def __bool__(self): return exact(bool, self._line.ask("true", self))
    def __str__(self): return exact(str, self._line.ask("text", self))
    def __repr__(self): return f"<{self._name} of the program>"
    def __eq__(self, other): return self is other
    def __hash__(self): return object.__hash__(self)


def number_of(v):
    if type(v) is not Remote: raise TypeError(f"the tests pass a {type(v).__name__}, which has no plain value, to the program")
    return v._number


def exact(kind, value):
    if type(value) is not kind: raise TypeError(f"no {kind.__name__}")
    return value


class TestNames:
    """Names that the test texts read, and which of them they make themselves."""

    def __init__(self, trees):
        self.own, self.read, self.called, self.bases = set(), set(), set(), set()
        for tree in trees:
            for n in ast.walk(tree):
                if isinstance(n, ast.Name): (self.read if isinstance(n.ctx, ast.Load) else self.own).add(n.id)
                elif isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): self.own.add(n.name)
                elif isinstance(n, ast.arg): self.own.add(n.arg)
                elif isinstance(n, ast.alias): self.own.add((n.asname or n.name).split(".")[0])
                elif isinstance(n, ast.ExceptHandler) and n.name: self.own.add(n.name)
                if isinstance(n, ast.Call) and isinstance(n.func, ast.Name): self.called.add(n.func.id)
                if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name): self.bases.add(n.value.id)


def bind(line, names, used):
    """Names of the program become proxies or plain values; -> those it does not define."""
    missing = set()
    unknown = [n for n in sorted(used.read - used.own) if n not in names]
    ours = [n for n in unknown if not hasattr(builtins, n)]
    if not ours and "candidate" not in names:  # a program may define `sum`; tests that use nothing else mean that one
        ours = [n for n in unknown if n in used.called and line.ask("defines", n) is True]
    for n in ours:
        if n in used.bases and n not in used.called and n in sys.stdlib_module_names:
            names[n] = importlib.import_module(n)  # `math.isclose` means Python's, whatever the program calls `math`
            continue
        try: names[n] = line.ask("name", n)
        except LookupError: missing.add(n)
    return missing


def run(line, config):
    """-> how it ended and why."""
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    names = module.__dict__
    missing, tests = set(), ""
    try:
        line.ask()  # the program is loaded, or raised
        exec(compile(config["prelude"], "prelude.py", "exec"), names)
        line.codec.classes = {n: v for n, v in names.items() if isinstance(v, type) and v.__module__ == "tests"}
        trees = {n: ast.parse(config[n], f"{n}.py") for n in ("setup", "tests")}
        tests = config["tests"]
        used = TestNames(trees.values())
        entry = config["entry_point"]
        if entry:
            names.pop(entry, None)
            try: names["candidate"] = line.ask("entry", entry)
            except LookupError as e: return "raised", str(e)
            if entry.isidentifier(): names[entry] = names["candidate"]
        missing = bind(line, names, used)
        for n, tree in trees.items(): exec(compile(tree, f"{n}.py", "exec"), names)
        if "check" in used.own and entry: names["check"](names["candidate"])
    except Lost:
        pass
    except BaseException as e:
        if line.lost: return line.lost, ""
        name = getattr(e, "of_program", None)
        if name: return "raised", f"{name}: {e}"
        if isinstance(e, NameError) and e.name in missing: return "raised", f"the program defines no '{e.name}'"
        place = where(e, tests)
        if isinstance(e, AssertionError): return "failed", f"{place} {e}".strip() if str(e) else place
        return "failed" if line.uses else "broken", f"{type(e).__name__}: {e} {place}"
    if line.lost: return line.lost, ""
    return ("passed", "") if line.uses else ("broken", "the tests never used the program")


def where(e, tests):
    place, trace = "", e.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == "tests.py":
            lines = tests.splitlines()
            if trace.tb_lineno <= len(lines): place = lines[trace.tb_lineno - 1].strip()
        trace = trace.tb_next
    return f"[{place}]" if place else ""


def main():
    fd, out = os.dup(0), os.dup(1)
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.dup2(2, 1)
    with open("tests.json", encoding="utf-8") as f: config = json.load(f)
    line = Line(fd, out, config["most_bytes"])
    end, why = run(line, config)
    os.write(out, json.dumps({"end": end, "why": why[:1000]}).encode() + b"\n")
    os._exit(0)


main()
