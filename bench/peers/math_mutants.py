"""Which mutations of golds keep the value? SymPy's answer, independent of our parser and checker.

    R1_MUTANTS_OUT=mutants.jsonl build/release/bin/math_gold_test
    V/bin/python bench/peers/math_mutants.py mutants.jsonl --sample 2000        # V as for math_graders.py

Both texts are read by latex2sympy and compared as numbers at random points (20 digits) and by SymPy's ==. Prints one JSON line: how many were
read, how many keep the value, and those that do. Our checker refuses all mutants (the test demands it), so what is listed here was refused
although it is right.
"""

import argparse
import json
import random
import sys


def same(gold, mutant):
    """True, False, or None where SymPy does not read one of them."""
    import sympy
    from latex2sympy2_extended import latex2sympy

    try:
        g, m = latex2sympy(gold), latex2sympy(mutant)
        if g == m:
            return True
        if not isinstance(g, sympy.Expr) or not isinstance(m, sympy.Expr):
            return False
        symbols = sorted(g.free_symbols | m.free_symbols, key=str)
        for seed in range(3):
            r = random.Random(seed)
            at = {s: sympy.Rational(r.randrange(300, 900), 701) for s in symbols}
            if abs(sympy.N((g - m).subs(at), 20)) > 1e-15:
                return False
        return True
    except Exception:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mutants")
    parser.add_argument("--sample", type=int, default=2000, help="0 = all")
    args = parser.parse_args()
    rows = [json.loads(line) for line in open(args.mutants)]
    # Integers and plain decimals need no algebra: another text is another value.
    rows = [r for r in rows if "\\" in r["gold"] or any(c.isalpha() for c in r["gold"]) or r["kind"] not in ("digit", "digits swapped")]
    if args.sample and len(rows) > args.sample:
        rows = random.Random(1).sample(rows, args.sample)
    found = [same(r["gold"], r["mutant"]) for r in rows]
    keep = [r for r, f in zip(rows, found) if f]
    print(json.dumps({"mutants": len(rows), "read_by_sympy": sum(f is not None for f in found), "keep_the_value": len(keep), "they": keep}))


if __name__ == "__main__":
    sys.exit(main())
