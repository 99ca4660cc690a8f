#!/usr/bin/env python3
"""Checks the labels of the generated corpus with SymPy (pip install sympy==1.14.0); nothing of this repository's checker.

Every row's values are compared by SymPy: constants to 60 digits, expressions at random points, sets as sets, equations
up to a constant factor, inequalities up to a positive one. Rows without values (texts, choices, conventions) are
counted as such. Exit code 1 if a label is wrong.
"""
import collections
import random
import sys

import sympy
from sympy import Matrix, N, Rational, Set, Symbol, simplify, sympify

import make

NAMES = {n: Symbol(n, positive=True) for n in "a b c d k m n r t u v x y z x1 x2".split()}
NAMES["round4"] = lambda v: Rational(int(sympy.floor(v * 10 ** 4 + Rational(1, 2))), 10 ** 4)
NAMES["round5"] = lambda v: Rational(int(sympy.floor(v * 10 ** 5 + Rational(1, 2))), 10 ** 5)
NAMES["cbrt"] = sympy.cbrt


def read(text):
    return sympify(text, locals=NAMES)


def scalars_equal(a, b):
    d = a - b
    if d == 0:
        return True
    if d.is_Rational:
        return False
    symbols = a.free_symbols | b.free_symbols
    r = random.Random(7)
    for _ in range(3 if symbols else 1):
        at = {s: Rational(r.randrange(3, 60), 37) for s in symbols}
        x, y = N(a.subs(at), 80), N(b.subs(at), 80)
        if abs(x - y) > sympy.Float(10) ** -50 * abs(x) + sympy.Float(10) ** -70:
            return False
    return True


def constant_factor(f, g):
    q = simplify(f / g)
    return q if not q.free_symbols and q != 0 else None


def equal(g, a):
    if isinstance(g, tuple) != isinstance(a, tuple) or (isinstance(g, tuple) and g[0] != a[0]):
        return False
    if isinstance(g, str):
        x, y = read(g), read(a)
        if isinstance(x, Set) or isinstance(y, Set):
            return x == y
        return bool(scalars_equal(x, y))
    if g[0] == "tuple":
        return len(g[1]) == len(a[1]) and all(equal(x, y) for x, y in zip(g[1], a[1]))
    if g[0] == "set":
        if len(g[1]) != len(a[1]):
            return False
        return all(any(equal(x, y) for y in a[1]) for x in g[1]) and all(any(equal(x, y) for x in g[1]) for y in a[1])
    if g[0] == "matrix":
        x, y = Matrix([[read(v) for v in row] for row in g[1]]), Matrix([[read(v) for v in row] for row in a[1]])
        return x.shape == y.shape and all(scalars_equal(p, q) for p, q in zip(x, y))
    if g[0] == "equation":
        return constant_factor(read(g[1]), read(a[1])) is not None
    if g[0] == "inequality":
        q = constant_factor(read(g[2]), read(a[2]))
        turned = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}
        return q is not None and (a[1] if q > 0 else turned[a[1]]) == g[1]
    return g == a


def main():
    counts = collections.Counter()
    for row, (g, a) in make.build():
        by_algebra = g is not None and (isinstance(g, str) or g[0] in ("tuple", "set", "matrix", "equation", "inequality"))
        # ("none",): another shape, nothing to calculate; ("same", ...): equal by construction.
        by_algebra = by_algebra and (isinstance(a, str) or a[0] in ("tuple", "set", "matrix", "equation", "inequality"))
        if not by_algebra:
            counts["by construction or convention"] += 1
            if g is not None and (g == a) != row["label"]:
                counts["wrong"] += 1
                print("label", row, g, a)
            continue
        counts["by SymPy"] += 1
        try:
            found = bool(equal(g, a))
        except Exception as e:  # the row, not only the place, is wanted
            print("failed", row, g, a, repr(e))
            counts["wrong"] += 1
            continue
        if found != row["label"]:
            counts["wrong"] += 1
            print("SymPy says", found, row, g, a)
    print(dict(counts))
    sys.exit(1 if counts["wrong"] else 0)


if __name__ == "__main__":
    main()
