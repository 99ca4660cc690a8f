"""Choices, texts and Chinese answers: labelled by convention, not by algebra."""
from corpus import FULL


def choice(c):
    k = c.kind("choice")
    for i, x in enumerate("ABCDE"):
        for f in ["(%s)" % x, "\\text{(%s)}" % x, "%s." % x, "%s)" % x, "\\textbf{%s}" % x, "\\text{%s}" % x, "(%s) 12" % x, "%s: 3\\sqrt2" % x, "\\textbf{(%s)}\\ 12" % x, "$\\text{%s}$" % x]:
            k.yes(x, f, "the same letter")
        for y in "ABCDE":
            if y != x:
                k.no(x, y, "another letter")
                k.no(x, "(%s)" % y, "another letter")
                k.no("\\text{(%s)}" % x, "%s. 12" % y, "another letter")
        k.no(x, x + "".join(y for y in "ABCDE" if y != x)[:1], "two letters")
        k.no(x, "%s or %s" % (x, "ABCDE"[(i + 1) % 5]), "hedging")
        k.no(x, str(i + 1), "number for a letter")
        k.no(x, x.lower() if x not in "E" else "e", "case matters for a single letter")


NAMES = ["Evelyn", "Maria", "Tuesday", "Friday", "parabola", "ellipse", "hyperbola", "circle", "even", "odd", "rational", "prime", "isosceles", "red", "blue", "north", "increasing", "decreasing", "neither"]


def text(c):
    k = c.kind("text")
    r = k.r
    for x in NAMES:
        for f in r.sample(["\\text{%s}" % x, x.upper(), x + ".", "\\text{ %s }" % x, "\\mathrm{%s}" % x, x.capitalize(), "**%s**" % x, "$\\text{%s}$" % x], 3):
            k.yes("\\text{%s}" % x, f, "the same word")
        for y in r.sample([n for n in NAMES if n != x], 3):
            k.no("\\text{%s}" % x, "\\text{%s}" % y, "another word")
        k.no("\\text{%s}" % x, x[1:] + x[0] if x[1:] + x[0] != x else x + "x", "letters turned")
        k.no("\\text{%s}" % x, "\\text{not %s}" % x, "negated")
        k.no("\\text{%s}" % x, "7", "a number")
    for a, b in [("Yes", "No"), ("True", "False"), ("Yes", "Yes and no"), ("no solution", "one solution"), ("cat", "act"), ("on", "no"), ("undefined", "0"), ("infinitely many", "many"),
                 ("does not exist", "exists"), ("convergent", "divergent")]:
        k.no("\\text{%s}" % a, "\\text{%s}" % b, "another statement")
        k.no(b, a, "another statement")
        k.yes("\\text{%s}" % a, a, "without \\text")
        k.yes("\\text{%s}" % a, a.lower(), "case of words")


CHINESE_UNITS = [("\u5143", "yuan"), ("\u4e2a", "pieces"), ("\u9875", "pages"), ("\u5343\u514b", "kg"), ("\u7c73", "m"), ("\u5c81", "years"), ("\u5206\u949f", "min"), ("\u4eba", "people")]


def chinese(c):
    k = c.kind("chinese")
    r = k.r
    for i in range(22):
        n = r.randrange(2, 900)
        u = r.choice(CHINESE_UNITS)[0]
        g = str(n)
        for f in r.sample(["%d%s" % (n, u), "%d %s" % (n, u), str(n).translate(FULL), str(n).translate(FULL) + u, "\\text{%d%s}" % (n, u), "%d\\text{%s}" % (n, u), "%d\u3002" % n, "x\uff1d%d" % n], 3):
            k.yes(g, f, "the same number", ("same", n))
        k.no(g, "%d%s" % (n + 1, u), "value", ("same", n), ("same", n + 1))
        k.no(g, "-%d%s" % (n, u), "sign", ("same", n), ("same", -n))
        k.no(g, str(n * 10 + 1).translate(FULL), "one digit more", ("same", n), ("same", n * 10 + 1))
        if n % 10 == 0 or i % 3 == 0:
            k.yes(str(n * 10000), "%d\u4e07" % n, "ten thousands", ("same", n * 10000))
            k.no(str(n), "%d\u4e07" % n, "ten thousands", ("same", n), ("same", n * 10000))
    for g, a, n in [("\\frac{1}{2}", "\uff11/\uff12", "\uff11/\uff13"), ("(1,2)", "\uff08\uff11\uff0c\uff12\uff09", "\uff08\uff12\uff0c\uff11\uff09"), ("1, 2", "1\u30012", "1\u30013"), ("1, 2", "1\u6216 2", "1"),
                    ("x>3", "x\uff1e3", "x\uff1c3"), ("50\\%", "\uff15\uff10\uff05", "\uff15\uff11\uff05"), ("3.5", "\uff13\uff0e\uff15", "\uff13\uff0e\uff16"), ("2\\pi", "2\u03c0", "3\u03c0"),
                    ("-7", "\u22127", "7"), ("\\text{\u662f}", "\u662f", "\u5426"), ("\\text{\u5947\u6570}", "\u5947\u6570", "\u5076\u6570"), ("2\\sqrt{3}", "2\u221a3", "3\u221a2"), ("x=2", "x\uff1d2", "x\uff1d3"),
                    ("6\\times 7", "6\u00d77", "6\u00d78"), ("3\\div 4", "3\u00f74", "4\u00f73"), ("x\\le 4", "x\u22644", "x\u22654"), ("30^\\circ", "30\u00b0", "31\u00b0"), ("A", "\uff21", "\uff22"),
                    ("C", "\u9009 C", "\u9009 D"), ("12", "12\u5e73\u65b9\u5398\u7c73", "12\u5e73\u65b9\u5398\u7c73\u548c3"), ("[0,1]", "\uff3b0\uff0c1\uff3d", "\uff080\uff0c1\uff09")]:
        k.yes(g, a, "full-width or Chinese signs")
        k.no(g, n, "another answer")
        k.no(a, n, "another answer")


def make(c):
    for part in (choice, text, chinese):
        part(c)
