// The Python text that evaluates one call inside the box and writes its value as JSON.
#pragma once

#include <string_view>

namespace r1::code {

// It knows the call (from stdin) but no expected value, so a program that seizes it can only send another answer.
// Exact types: a subclass with its own __eq__ or a value JSON lacks becomes an object that equals nothing. What the
// program prints goes to stderr. Methods of a class Solution are callable by name, as LeetCode writes them.
inline constexpr std::string_view kPythonCallDriver = R"(import json, math, os, sys
out = os.dup(1)
os.dup2(2, 1)
call = sys.stdin.read()
def plain(v, depth=0):
    t = type(v)
    if v is None or t is bool or t is str: return v
    if t is int and -2**63 <= v < 2**63: return v
    if t is float and math.isfinite(v): return v
    if depth < 500:
        if t is list or t is tuple: return [plain(x, depth + 1) for x in v]
        if t is dict and all(type(k) in (str, int) for k in v): return {str(k): plain(x, depth + 1) for k, x in v.items()}
    return {"no JSON value of type": t.__name__}
names = {"__name__": "solution", "__file__": "solution.py"}
with open("solution.py", encoding="utf-8") as f: text = f.read()
exec(compile(text, "solution.py", "exec"), names)
if isinstance(names.get("Solution"), type):
    for n in dir(names["Solution"]):
        if not n.startswith("__") and n not in names: names[n] = getattr(names["Solution"](), n)
data = json.dumps(plain(eval(call.strip(), names)), allow_nan=False).encode()
while data: data = data[os.write(out, data):]
)";

}  // namespace r1::code
