"""Sets, tuples, intervals, unions, matrices, equations, inequalities, sequences, ratios, functions."""
from corpus import dress, frac, plus, poly

# Members with their SymPy forms; all different in value.
MEMBERS = [("\\sqrt{2}", "sqrt(2)", "2^{1/2}"), ("\\frac{1}{2}", "Rational(1,2)", "0.5"), ("\\pi", "pi", "\u03c0"), ("-\\frac{3}{4}", "-Rational(3,4)", "-3/4"),
           ("2\\sqrt3", "2*sqrt(3)", "\\sqrt{12}"), ("1+\\sqrt{5}", "1+sqrt(5)", "\\sqrt5+1"), ("e", "E", "\\mathrm{e}"), ("\\frac{\\pi}{3}", "pi/3", "\\pi/3")]


def pick(r, n):
    """n members: whole numbers mostly, one from the table sometimes; (text, value, other text)."""
    out = [(str(v), str(v), str(v)) for v in r.sample(range(-30, 60), n)]
    for i in range(n):
        if r.random() < 0.35:
            m = r.choice(MEMBERS)
            if m not in out:
                out[i] = m
    return out


def other(r, member):
    return (str(r.randrange(61, 90)),) * 3


def collections(c):
    for name, left, right in (("set", "\\{", "\\}"), ("tuple", "(", ")")):
        k = c.kind(name)
        r = k.r
        for i in range(34):
            n = r.choice([2, 2, 3, 3, 4, 5])
            m = pick(r, n)
            wrap = lambda items, s=", ": left + s.join(items) + right
            g, v = wrap([t for t, _, _ in m]), (name, [x for _, x, _ in m])
            forms = [wrap([o for _, _, o in m]), "\\left" + wrap([t for t, _, _ in m]).replace(right, "\\right" + right), wrap([t for t, _, _ in m], ",").replace(",", ", "),
                     "$" + g + "$", g.replace(", ", " , ")]
            if name == "set":
                turned = m[::-1]
                forms += [wrap([t for t, _, _ in turned]), wrap([o for _, _, o in m[1:] + m[:1]]), ", ".join(t for t, _, _ in turned)]
            for f in r.sample(forms, 2):
                k.yes(g, f, "the same %s" % name, v)
            j = r.randrange(n)
            changed = m[:j] + [other(r, m[j])] + m[j + 1:]
            wrong = [(wrap([t for t, _, _ in changed]), (name, [x for _, x, _ in changed]), "one entry"), (wrap([t for t, _, _ in m[:-1]]) if n > 2 else m[0][0], ("none",), "one missing"),
                     (wrap([t for t, _, _ in m + [other(r, 0)]]), ("none",), "one more"), (m[j][0], ("none",), "one alone")]
            if not m[j][1] == "0":
                negative = m[:j] + [("-(%s)" % m[j][0], "-(%s)" % m[j][1], "")] + m[j + 1:]
                if name == "tuple" or set(x for _, x, _ in negative) != set(v[1]):
                    wrong.append((wrap([t for t, _, _ in negative]), (name, [x for _, x, _ in negative]), "sign of one"))
            if name == "tuple":
                wrong += [(wrap([t for t, _, _ in m[1:] + m[:1]]), (name, [x for _, x, _ in m[1:] + m[:1]]), "order"), ("\\{" + g[1:-1] + "\\}", ("none",), "a set has no order")]
            for f, w, why in r.sample(wrong, 3):
                k.no(g, f, why, v, w)
    k = c.kind("list")
    r = k.r
    for i in range(18):
        m = pick(r, r.choice([2, 2, 3]))
        t = [x for x, _, _ in m]
        v = ("set", [x for _, x, _ in m])
        g = ", ".join(t)
        for f in r.sample([", ".join(t[::-1]), " \\text{ and } ".join(t) if len(t) == 2 else ", ".join(t[:-1]) + ", \\text{ and } " + t[-1], " or ".join(t) if len(t) == 2 else "; ".join(t),
                           "\\{" + ", ".join(t) + "\\}", "x = " + ", x = ".join(t)], 2):
            k.yes(g, f, "the same values", v)
        j = r.randrange(len(t))
        k.no(g, t[j], "one alone", v, ("none",))
        k.no(g, ", ".join(t + ["91"]), "one more", v, ("none",))
        k.no(g, ", ".join(t[:j] + ["77"] + t[j + 1:]), "one entry", v, ("set", [x for _, x, _ in m[:j]] + ["77"] + [x for _, x, _ in m[j + 1:]]))
        k.no(t[j], g, "hedging: one value was asked", ("set", [m[j][1]]), v)


def intervals(c):
    k = c.kind("interval")
    r = k.r
    names = {"()": "Interval.open", "[]": "Interval", "(]": "Interval.Lopen", "[)": "Interval.Ropen"}
    def text(b, lo, hi): return "%s%s, %s%s" % (b[0], lo, hi, b[1])
    def value(b, lo, hi): return "%s(%s,%s)" % (names[b], lo.replace("\\infty", "oo"), hi.replace("\\infty", "oo"))
    for i in range(40):
        lo, hi = sorted(r.sample(range(-20, 30), 2))
        lo, hi = str(lo), str(hi)
        b = r.choice(list(names))
        if r.random() < 0.2:
            lo, b = "-\\infty", "(" + b[1]
        elif r.random() < 0.2:
            hi, b = "\\infty", b[0] + ")"
        g, v = text(b, lo, hi), value(b, lo, hi)
        for f in r.sample(["\\left" + g[:-1] + "\\right" + g[-1], g.replace(", ", ","), "x \\in " + g, "$" + g + "$", g.replace("\\infty", "+\\infty").replace("-+", "-") if "infty" in g else g.replace(",", " ,")], 2):
            k.yes(g, f, "the same interval", v)
        wrong = []
        for o in names:
            if o != b and (lo != "-\\infty" or o[0] == "(") and (hi != "\\infty" or o[1] == ")"):
                wrong.append((text(o, lo, hi), value(o, lo, hi), "bracket"))
        if hi != "\\infty":
            wrong.append((text(b, lo, str(int(hi) + 1)), value(b, lo, str(int(hi) + 1)), "upper end"))
        if lo != "-\\infty":
            wrong.append((text(b, str(int(lo) - 1), hi), value(b, str(int(lo) - 1), hi), "lower end"))
            if lo != "0":
                wrong.append((text(b, "-" + lo if lo[0] != "-" else lo[1:], hi), ("none",), "sign of an end"))
        for f, w, why in r.sample(wrong, min(3, len(wrong))):
            k.no(g, f, why, v, w)
    k = c.kind("union")
    r = k.r
    for i in range(26):
        p = sorted(r.sample(range(-20, 30), 4))
        b1, b2 = r.choice(list(names)), r.choice(list(names))
        a1, a2 = (b1, str(p[0]), str(p[1])), (b2, str(p[2]), str(p[3]))
        if r.random() < 0.5:
            a1, a2 = ("(" + b1[1], "-\\infty", str(p[1])), (b2[0] + ")", str(p[2]), "\\infty")
        cup = " \\cup "
        g, v = text(*a1) + cup + text(*a2), "Union(%s,%s)" % (value(*a1), value(*a2))
        for f in r.sample([text(*a2) + cup + text(*a1), text(*a1) + "\\cup" + text(*a2), "x \\in " + g, text(*a1) + " \u222a " + text(*a2), "$" + g + "$"], 2):
            k.yes(g, f, "the same union", v)
        flip = {"(": "[", "[": "(", ")": "]", "]": ")"}
        x1 = (a1[0][0] + flip[a1[0][1]],) + a1[1:]
        x2 = (a2[0], str(int(a2[1]) + 1), a2[2]) if a2[2] == "\\infty" or int(a2[1]) + 1 < int(a2[2]) else (a2[0], str(int(a2[1]) - 1), a2[2])
        wrong = [(text(*x1) + cup + text(*a2), "Union(%s,%s)" % (value(*x1), value(*a2)), "bracket"), (text(*a1) + cup + text(*x2), "Union(%s,%s)" % (value(*a1), value(*x2)), "end"),
                 (text(*a1), value(*a1), "one part"), (text(a1[0][0] + a2[0][1], a1[1], a2[2]), value(a1[0][0] + a2[0][1], a1[1], a2[2]) if a1[1] != a2[2] else ("none",), "the gap closed"),
                 (text(*a1) + " \\cap " + text(*a2), ("none",), "intersection")]
        for f, w, why in r.sample(wrong, 3):
            if (f, w) != (text(*a1), v):
                k.no(g, f, why, v, w)


def matrices(c):
    k = c.kind("matrix")
    r = k.r
    for i in range(30):
        rows, cols = r.choice([(2, 2), (2, 2), (3, 1), (2, 1), (1, 3), (3, 3), (2, 3)])
        flat = pick(r, rows * cols)
        def tex(cells, rows=rows, cols=cols, env="pmatrix", gap=" "):
            return "\\begin{%s}" % env + (gap + "\\\\" + gap).join((gap + "&" + gap).join(cells[y * cols:(y + 1) * cols]) for y in range(rows)) + "\\end{%s}" % env
        def val(vals, rows=rows, cols=cols): return ("matrix", [vals[y * cols:(y + 1) * cols] for y in range(rows)])
        t, x = [m[0] for m in flat], [m[1] for m in flat]
        g, v = tex(t), val(x)
        for f in r.sample([tex(t, env="bmatrix"), tex(t, gap=""), tex([m[2] for m in flat]), "\\left(" + tex(t, env="matrix") + "\\right)", "A = " + g,
                           "\\left[\\begin{array}{%s}" % ("c" * cols) + tex(t)[len("\\begin{pmatrix}"):-len("\\end{pmatrix}")] + "\\end{array}\\right]"], 2):
            k.yes(g, f, "the same matrix", v)
        j = r.randrange(rows * cols)
        w = t[:j] + ["88"] + t[j + 1:]
        k.no(g, tex(w), "one entry", v, val(x[:j] + ["88"] + x[j + 1:]))
        if x[j] != "0":
            k.no(g, tex(t[:j] + ["-" + t[j] if t[j][0] != "-" else t[j][1:]] + t[j + 1:]) if "+" not in t[j] else tex(t[:j] + ["0"] + t[j + 1:]), "sign of one entry", v, ("none",))
        if rows > 1 and cols > 1:
            tt = [t[y * cols + z] for z in range(cols) for y in range(rows)]
            k.no(g, tex(tt, cols, rows), "transposed", v, val([x[y * cols + z] for z in range(cols) for y in range(rows)], cols, rows))
        else:
            k.no(g, tex(t, cols, rows), "row for column", v, val(x, cols, rows))
        k.no(g, tex(t[1:] + t[:1]), "entries turned round", v, val(x[1:] + x[:1]))


def equations(c):
    k = c.kind("equation")
    r = k.r
    for i in range(34):
        a, b, d = r.randrange(2, 9), r.randrange(1, 12), r.choice([2, 3, -1, 4])
        s = r.choice(["+", "-"])
        g, v = "y = %dx %s %d" % (a, s, b), ("equation", "y-(%d*x%s%d)" % (a, s, b))
        o = "-" if s == "+" else "+"
        for f in r.sample(["%dx - y %s %d = 0" % (a, s, b), "%d%s%dx=y" % (b if s == "+" else -b, "+", a), "%dy = %dx %s %d" % (abs(d), abs(d) * a, s, abs(d) * b), "y %s %d = %dx" % (o, b, a),
                           "y=%d\\left(x%s\\frac{%d}{%d}\\right)" % (a, s, b, a), "$" + g + "$", "%dx %s %d - y = 0" % (a, s, b)], 2):
            k.yes(g, f, "the same line", v)
        for f, w, why in r.sample([("y = %dx %s %d" % (a, o, b), "y-(%d*x%s%d)" % (a, o, b), "sign"), ("y = %dx %s %d" % (a + 1, s, b), "y-(%d*x%s%d)" % (a + 1, s, b), "slope"),
                                   ("y = %dx %s %d" % (a, s, b + 1), "y-(%d*x%s%d)" % (a, s, b + 1), "intercept"), ("x = %dy %s %d" % (a, s, b), "x-(%d*y%s%d)" % (a, s, b), "symbols exchanged"),
                                   ("y = -%dx %s %d" % (a, s, b), "y-(-%d*x%s%d)" % (a, s, b), "sign of the slope"), ("%dx + y %s %d = 0" % (a, s, b), "y+%d*x%s%d" % (a, s, b), "sign of y"),
                                   ("y = %dx^2 %s %d" % (a, s, b), "y-(%d*x**2%s%d)" % (a, s, b), "exponent")], 3):
            k.no(g, f, why, v, ("equation", w))
    for i in range(14):
        p, q, n = r.randrange(-6, 7), r.randrange(1, 7), r.randrange(2, 40)
        g, v = "(x%s)^2+(y-%d)^2=%d" % (plus(-p) if p else "", q, n), ("equation", "(x-(%d))**2+(y-%d)**2-%d" % (p, q, n))
        full = poly([1, -2 * p, 0], "x") + "+" + poly([1, -2 * q, p * p + q * q - n], "y")
        k.yes(g, full + "=0", "multiplied out", v)
        k.yes(g, g.replace("=", " = "), "spaces", v)
        k.no(g, g.replace("=%d" % n, "=%d" % (n + 1)), "radius", v, ("equation", "(x-(%d))**2+(y-%d)**2-%d" % (p, q, n + 1)))
        k.no(g, g.replace("y-%d" % q, "y+%d" % q), "centre", v, ("equation", "(x-(%d))**2+(y+%d)**2-%d" % (p, q, n)))
        k.no(g, g.replace("^2+(y", "^2-(y"), "a hyperbola", v, ("equation", "(x-(%d))**2-(y-%d)**2-%d" % (p, q, n)))
    for i in range(8):
        n = r.randrange(2, 60)
        k.yes("x = %d" % n, str(n), "value of the unknown", ("same", n))
        k.yes(str(n), "x=%d" % n, "value of the unknown", ("same", n))
        k.no("x = %d" % n, "x = %d" % (n + 1), "value", ("same", n), ("same", n + 1))
        k.no("x = %d" % n, "x \\ne %d" % n, "relation", ("same", n), ("none",))
        k.no("x = %d" % n, "x > %d" % n, "relation", ("same", n), ("none",))
        k.no("x = %d" % n, "y = %d" % n, "another unknown", ("same", n), ("none",))


def inequalities(c):
    k = c.kind("inequality")
    r = k.r
    rel = {"<": ("<", ">", "lt"), ">": (">", "<", "gt"), "\\le": ("\\leq", "\\ge", "le"), "\\ge": ("\\geq", "\\le", "ge")}
    for i in range(30):
        n, m = r.randrange(-20, 40), r.randrange(2, 6)
        s = r.choice(list(rel))
        same, back, name = rel[s]
        g, v = "x %s %d" % (s, n), ("inequality", name, "x-(%d)" % n)
        uni = {"<": "<", ">": ">", "\\le": "\u2264", "\\ge": "\u2265"}
        for f in r.sample(["%d %s x" % (n, back), "x %s %d" % (same, n), "%dx %s %d" % (m, s, m * n), "x %s %d" % (uni[s], n), "-x %s %d" % (back, -n), "x %s %d %s 0" % ("-" if n >= 0 else "+", abs(n), s)], 2):
            k.yes(g, f, "the same inequality", v)
        for o, (_, _, oname) in rel.items():
            if o != s:
                if r.random() < 0.7:
                    k.no(g, "x %s %d" % (o, n), "relation", v, ("inequality", oname, "x-(%d)" % n))
        k.no(g, "x %s %d" % (s, n + 1), "bound", v, ("inequality", name, "x-(%d)" % (n + 1)))
        if r.random() < 0.5:
            k.no(g, str(n), "the bound alone", v, ("none",))
    for i in range(14):
        lo, hi = sorted(r.sample(range(-15, 25), 2))
        l, u = r.choice(["<", "\\le"]), r.choice(["<", "\\le"])
        g = "%d %s x %s %d" % (lo, l, u, hi)
        t = {"<": ">", "\\le": "\\ge"}
        v = ("same", lo, l, u, hi)
        k.yes(g, "%d %s x %s %d" % (hi, t[u], t[l], lo), "turned", v)
        k.yes(g, g.replace("\\le", "\\leq").replace(" x ", "\\,x\\,"), "spaces", v)
        k.no(g, "%d %s x %s %d" % (lo, "<" if l == "\\le" else "\\le", u, hi), "strictness", v, ("none",))
        k.no(g, "%d %s x %s %d" % (lo - 1, l, u, hi), "lower bound", v, ("none",))
        k.no(g, "x %s %d" % (u, hi), "one bound only", v, ("none",))
        k.no(g, "%d %s x %s %d" % (lo, t[l], t[u], hi), "empty", v, ("none",))


def small(c):
    k = c.kind("plus_minus")
    r = k.r
    for i in range(18):
        a, b = r.randrange(1, 20), r.choice([2, 3, 5, 6, 7, 10])
        g, v = "%d \\pm \\sqrt{%d}" % (a, b), ("set", ["%d+sqrt(%d)" % (a, b), "%d-sqrt(%d)" % (a, b)])
        k.yes(g, "%d + \\sqrt{%d}, %d - \\sqrt{%d}" % (a, b, a, b), "both values", v)
        k.yes(g, "\\{%d-\\sqrt{%d}, %d+\\sqrt{%d}\\}" % (a, b, a, b), "both values as a set", v)
        k.no(g, "%d + \\sqrt{%d}" % (a, b), "one value", v, ("none",))
        k.no(g, "%d \\pm \\sqrt{%d}" % (a, b + 1), "radicand", v, ("none",))
        k.no(g, "-%d \\pm \\sqrt{%d}" % (a, b), "centre", v, ("none",))
        k.no("%d+\\sqrt{%d}" % (a, b), g, "hedging: one value was asked", ("none",), v)
    k = c.kind("ratio")
    r = k.r
    for i in range(14):
        a, b = r.sample(range(1, 30), 2)
        g = "%d:%d" % (a, b)
        k.yes(g, "%d : %d" % (a, b), "spaces", ("same", g))
        k.no(g, "%d:%d" % (b, a), "turned", ("same", g), ("same", "x"))
        k.no(g, "%d:%d" % (a + 1, b), "first part", ("same", g), ("same", "x"))
        k.no(g, "%d:%d:1" % (a, b), "one part more", ("same", g), ("same", "x"))
    k = c.kind("sequence")
    for a, b in [("1, 2, \\ldots, n", "1, 3, \\ldots, 2n-1"), ("1:2:3:\\ldots", "1:4:9:\\ldots"), ("2, 4, 6, \\ldots", "2, 4, 8, \\ldots"), ("1, 1, 2, 3, 5, \\ldots", "1, 2, 3, 5, \\ldots"),
                 ("0, 1, \\dots, n-1", "1, 2, \\dots, n"), ("\\{1, 2, \\ldots, 10\\}", "\\{1, 2, \\ldots, 9\\}"), ("1, \\frac12, \\frac13, \\ldots", "1, \\frac12, \\frac14, \\ldots")]:
        k.no(a, b, "another sequence")
        k.no(b, a, "another sequence")
        k.yes(a, a.replace(", ", ",").replace("\\dots", "\\ldots"), "spaces and dots")
    k = c.kind("function")
    for g, a, n in [("f(x)=x^2+1", "f(x) = 1+x^2", "f(x)=x^2-1"), ("f(x)=2x", "2x", "f(x)=3x"), ("x\\mapsto x^2", "x \\mapsto x\\cdot x", "x\\mapsto x^3"), ("f(x)=0", "f(x) = 0", "f(x)=1"),
                    ("f(n)=n+1", "n+1", "n-1"), ("g(t)=\\sin t", "\\sin(t)", "g(t)=\\cos t"), ("f(x)=\\frac{1}{x}", "f(x) = x^{-1}", "f(x) = x"), ("P(x)=x^2-3x+2", "(x-1)(x-2)", "(x-1)(x+2)"),
                    ("f(x)=e^{-x}", "f(x)=\\frac{1}{e^x}", "f(x)=-e^x"), ("f(x,y)=x+y", "f(x,y)=y+x", "f(x,y)=xy")]:
        k.yes(g, a, "the same function")
        k.no(g, n, "another function")
        k.no(a, n, "another function")
    k = c.kind("rounding_functions")
    for g, a, n in [("\\lfloor 3.7\\rfloor", "3", "4"), ("\\lceil 3.2\\rceil", "4", "3"), ("|-5|", "5", "-5"), ("\\gcd(12,18)", "6", "12"), ("\\max(3,8)", "8", "3"), ("\\lfloor\\pi\\rfloor", "3", "4"),
                    ("\\lfloor\\sqrt{50}\\rfloor", "7", "8"), ("|3-\\pi|", "\\pi-3", "3-\\pi"), ("\\left|-\\frac12\\right|", "0.5", "-0.5"), ("\\operatorname{lcm}(4,6)", "12", "24")]:
        k.yes(a, g, "its value")
        k.yes(g, a, "its value")
        k.no(g, n, "another value")
        k.no(n, g, "another value")


def make(c):
    for part in (collections, intervals, matrices, equations, inequalities, small):
        part(c)
