"""What the generator's parts share: rows, labels, the dresses that keep a meaning.

A row is {kind, gold, answer, label, why}; label true = must be accepted. `values` of a row is what verify.py hands to
SymPy (left out of the file): a SymPy expression, or ("tuple"|"set"|"matrix"|"equation"|"inequality"|"same"|"text", ...).
"""
import random


class Corpus:
    def __init__(self):
        self.rows = []
        self.seen = set()

    def kind(self, name):
        return Kind(self, name)


class Kind:
    def __init__(self, corpus, name):
        self.corpus, self.name, self.r = corpus, name, random.Random("maths corpus: " + name)

    def _add(self, label, gold, answer, why, g, a):
        if (gold, answer) in self.corpus.seen:
            return
        self.corpus.seen.add((gold, answer))
        row = {"kind": self.name, "gold": gold, "answer": answer, "label": label, "why": why}
        self.corpus.rows.append((row, (g, a)))

    def yes(self, gold, answer, why, g=None, a=None):
        self._add(True, gold, answer, why, g, g if a is None else a)

    def no(self, gold, answer, why, g=None, a=None):
        assert a is not None or g is None, (gold, answer)
        self._add(False, gold, answer, why, g, a)


FULL = str.maketrans("0123456789+-()=,", "".join(chr(0xFEE0 + ord(c)) for c in "0123456789+-()=,"))


def dress(r, s):
    """The same LaTeX in another dress, and its name."""
    k = r.randrange(8)
    if k == 0:
        return s.replace("\\frac", "\\dfrac"), "dfrac"
    if k == 1:
        return s.replace("(", "\\left(").replace(")", "\\right)"), "left right"
    if k == 2:
        return "$" + s + "$", "dollars"
    if k == 3:
        return "\\(" + s + "\\)", "round delimiters"
    if k == 4:
        return " " + s.replace("+", " + ").replace("=", " = ") + " ", "spaces"
    if k == 5:
        return s + ".", "full stop"
    if k == 6:
        return "\\displaystyle " + s, "display style"
    return "\\boxed{" + s + "}", "box"


def frac(a, b, command="\\frac"):
    return "%s{%s}{%s}" % (command, a, b)


def plus(s):
    """A term with its sign: for sums written out."""
    s = str(s)
    return s if s.startswith("-") else "+" + s


def poly(coefficients, x="x", times=""):
    """Highest power first; times "" for LaTeX, "*" for SymPy."""
    n, out = len(coefficients) - 1, ""
    for i, c in enumerate(coefficients):
        p = n - i
        if c == 0:
            continue
        body = "" if p == 0 else x if p == 1 else x + "^{%d}" % p if not times else x + "**%d" % p
        size = str(abs(c)) if abs(c) != 1 or p == 0 else ""
        text = size + (times if size and body else "") + body
        out += ("-" if c < 0 else "+" if out else "") + text
    return out or "0"
