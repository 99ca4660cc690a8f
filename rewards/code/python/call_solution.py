# Evaluates one call inside the box and writes its value as JSON; after solution_module.py. It knows the call (from stdin)
# but no expected value, so a program that seizes it can only send another answer. Exact types: a value that JSON lacks,
# or of a subclass, becomes an object that equals nothing.
import json, math


def call_solution():
    call = sys.stdin.read()
    out = private_channel()[1]

    def plain(v, depth=0):
        t = type(v)
        if v is None or t is bool or t is str: return v
        if t is int and -2**63 <= v < 2**63: return v
        if t is float and math.isfinite(v): return v
        if depth < 500:
            if t is list or t is tuple: return [plain(x, depth + 1) for x in v]
            if t is dict and all(type(k) in (str, int) for k in v): return {str(k): plain(x, depth + 1) for k, x in v.items()}
        return {"no JSON value of type": t.__name__}

    names = load_solution()
    for n in dir(names.get("Solution")) if isinstance(names.get("Solution"), type) else []:
        if not n.startswith("__") and n not in names: names[n] = find_name(names, n)
    data = json.dumps(plain(eval(call.strip(), names)), allow_nan=False).encode()
    while data: data = data[os.write(out, data):]


call_solution()
