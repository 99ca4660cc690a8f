"""Constants and expressions in symbols: surds, trigonometry, logarithms, powers, complex numbers, polynomials."""
from math import gcd, isqrt

from corpus import dress, frac, plus, poly


def squarefree(b):
    return all(b % (p * p) for p in range(2, isqrt(b) + 1))


ROOTS = [b for b in range(2, 40) if squarefree(b)]


def root(a, b):
    return ("" if a == 1 else "-" if a == -1 else str(a)) + "\\sqrt{%d}" % b


def surd(c):
    k = c.kind("surd")
    r = k.r
    for i in range(40):
        a, b = r.randrange(2, 12), r.choice(ROOTS)
        g, v = root(a, b), "%d*sqrt(%d)" % (a, b)
        forms = ["\\sqrt{%d}" % (a * a * b), "%d \\cdot \\sqrt{%d}" % (a, b), "%d*sqrt(%d)" % (a, b), "\\sqrt{%d}\\cdot %d" % (b, a),
                 frac(a * b, "\\sqrt{%d}" % b), "%d\u221a%d" % (a, b), "%d\\times\\sqrt{%d}" % (a, b),
                 "(%d^2 \\cdot %d)^{1/2}" % (a, b), dress(r, g)[0]]
        for x in r.sample(forms, 2):
            k.yes(g, x, "the same surd", v)
        b2 = r.choice([x for x in ROOTS if x != b])
        for x, w, why in r.sample([(root(a + 1, b), "%d*sqrt(%d)" % (a + 1, b), "coefficient"),
                                   (root(a, b2), "%d*sqrt(%d)" % (a, b2), "radicand"), (root(-a, b), "-" + v, "sign"),
                                   ("\\sqrt{%d}" % (a * b), "sqrt(%d)" % (a * b), "coefficient not squared"),
                                   ("%d\\sqrt[3]{%d}" % (a, b), "%d*cbrt(%d)" % (a, b), "index"),
                                   (str(a * b), str(a * b), "the root is missing")], 2):
            k.no(g, x, why, v, w)
    for i in range(30):
        p, q, b, d = r.randrange(1, 20), r.randrange(1, 9), r.choice(ROOTS), r.choice([1, 2, 3, 4, 5, 7])
        if gcd(gcd(p, q), d) != 1:
            d = 1
        s = r.choice(["+", "-"])
        top = "%d%s%s" % (p, s, root(q, b))
        g = frac(top, d) if d > 1 else top
        v = "(%d%s%d*sqrt(%d))/%d" % (p, s, q, b, d)
        swapped = ("" if s == "+" else "-") + root(q, b) + "+%d" % p
        forms = [frac(swapped, d) if d > 1 else swapped, "(%s)/%d" % (top, d), frac(p, d) + s + frac(root(q, b), d),
                 "(%d%s%d*sqrt(%d))/%d" % (p, s, q, b, d), frac("%d%s\\sqrt{%d}" % (p, s, q * q * b), d), dress(r, g)[0]]
        for x in r.sample(forms, 2):
            k.yes(g, x, "the same sum", v)
        o = "-" if s == "+" else "+"
        wrong = [(frac("%d%s%s" % (p, o, root(q, b)), d), "(%d%s%d*sqrt(%d))/%d" % (p, o, q, b, d), "conjugate"),
                 (frac(top, d + 1), "(%d%s%d*sqrt(%d))/%d" % (p, s, q, b, d + 1), "denominator"),
                 (frac("%d%s%s" % (p + 1, s, root(q, b)), d), "(%d%s%d*sqrt(%d))/%d" % (p + 1, s, q, b, d), "first term"),
                 (frac("%d%s%s" % (p, s, root(q, b + 1)), d), "(%d%s%d*sqrt(%d))/%d" % (p, s, q, b + 1, d), "radicand")]
        for x, w, why in r.sample(wrong, 2):
            k.no(g, x, why, v, w)
    for a, b in [(2, 3), (2, 5), (3, 5), (5, 6), (2, 7), (3, 7), (6, 7), (3, 10), (2, 11)]:
        g, v = "\\sqrt{%d}+\\sqrt{%d}" % (a, b), "sqrt(%d)+sqrt(%d)" % (a, b)
        k.yes(g, "\\sqrt{%d+2\\sqrt{%d}}" % (a + b, a * b), "denested", v, "sqrt(%d+2*sqrt(%d))" % (a + b, a * b))
        k.yes("\\frac{%d}{\\sqrt{%d}-\\sqrt{%d}}" % (b - a, b, a), g, "rationalised", v)
        k.no(g, "\\sqrt{%d}" % (a + b), "roots do not add", v, "sqrt(%d)" % (a + b))
        k.no(g, "\\sqrt{%d+2\\sqrt{%d}}" % (a + b, a * b + 1), "inner radicand", v, "sqrt(%d+2*sqrt(%d))" % (a + b, a * b + 1))
        k.no(g, "\\sqrt{%d}-\\sqrt{%d}" % (a, b), "sign", v, "sqrt(%d)-sqrt(%d)" % (a, b))
    for n in [2, 3, 5, 6, 7, 10]:
        k.yes("\\sqrt[3]{%d}" % (8 * n), "2\\sqrt[3]{%d}" % n, "cube root", "2*cbrt(%d)" % n)
        k.yes("\\sqrt[4]{%d}" % (n * n), "\\sqrt{%d}" % n, "fourth root of a square", "sqrt(%d)" % n)
        k.yes("%d^{2/3}" % n, "\\sqrt[3]{%d}" % (n * n), "power and root", "cbrt(%d)" % (n * n))
        k.no("\\sqrt[3]{%d}" % n, "\\sqrt{%d}" % n, "index", "cbrt(%d)" % n, "sqrt(%d)" % n)
        k.no("\\sqrt[3]{%d}" % n, "\\sqrt[4]{%d}" % n, "index", "cbrt(%d)" % n, "%d**Rational(1,4)" % n)
        k.no("\\sqrt[3]{%d}" % n, "3\\sqrt{%d}" % n, "index as a factor", "cbrt(%d)" % n, "3*sqrt(%d)" % n)


def pi_terms(c):
    k = c.kind("pi")
    r = k.r
    for i in range(28):
        a, b = r.randrange(1, 30), r.randrange(2, 14)
        if gcd(a, b) != 1:
            a, b = a * b + 1, b
        g, v = frac("%d\\pi" % a if a > 1 else "\\pi", b), "pi*%d/%d" % (a, b)
        for x in r.sample([frac(a, b) + "\\pi", "%d\\pi/%d" % (a, b), "%d*pi/%d" % (a, b), "%d\u03c0/%d" % (a, b),
                           "\\pi\\cdot" + frac(a, b), frac("\\pi", b) + "\\cdot %d" % a, dress(r, g)[0]], 2):
            k.yes(g, x, "the same multiple of pi", v)
        for x, w, why in r.sample([(frac("%d\\pi" % (a + 1), b), "pi*%d/%d" % (a + 1, b), "numerator"),
                                   (frac("%d\\pi" % a, b + 1), "pi*%d/%d" % (a, b + 1), "denominator"),
                                   (frac(a, b), "Rational(%d,%d)" % (a, b), "pi is missing"), ("-" + g, "-" + v, "sign"),
                                   (frac("%d\\pi^2" % a, b), "pi**2*%d/%d" % (a, b), "power of pi"),
                                   (frac(a, "%d\\pi" % b), "%d/(%d*pi)" % (a, b), "pi below")], 2):
            k.no(g, x, why, v, w)
    for n in [2, 3, 9, 12, 25]:
        k.yes("%d\\pi" % n, "%.4f" % (n * 3.14159265358979), "rounded", "round4(%d*pi)" % n,
              "Rational('%.4f')" % (n * 3.14159265358979))
        k.no("%d\\pi" % n, "%.4f" % (n * 3.1416 + 0.0011), "not the rounding", "round4(%d*pi)" % n,
             "Rational('%.4f')" % (n * 3.1416 + 0.0011))
        k.no("%d\\pi" % n, "%s" % frac(22 * n, 7), "22/7 is not pi", "%d*pi" % n, "%d/7" % (22 * n))


TRIG = [("\\sin", "sin"), ("\\cos", "cos"), ("\\tan", "tan")]
ANGLES = [("\\frac{\\pi}{6}", "pi/6", 30), ("\\frac{\\pi}{4}", "pi/4", 45), ("\\frac{\\pi}{3}", "pi/3", 60),
          ("\\frac{\\pi}{12}", "pi/12", 15), ("\\frac{5\\pi}{12}", "5*pi/12", 75), ("\\frac{2\\pi}{3}", "2*pi/3", 120),
          ("\\frac{\\pi}{5}", "pi/5", 36), ("\\frac{\\pi}{8}", "pi/8", None)]
EXACT = {("sin", "pi/6"): ("\\frac12", "Rational(1,2)"), ("cos", "pi/6"): ("\\frac{\\sqrt3}{2}", "sqrt(3)/2"),
         ("tan", "pi/6"): ("\\frac{\\sqrt{3}}{3}", "sqrt(3)/3"), ("sin", "pi/4"): ("\\frac{\\sqrt2}{2}", "sqrt(2)/2"),
         ("tan", "pi/4"): ("1", "1"), ("tan", "pi/3"): ("\\sqrt{3}", "sqrt(3)"),
         ("sin", "pi/12"): ("\\frac{\\sqrt6-\\sqrt2}{4}", "(sqrt(6)-sqrt(2))/4"),
         ("cos", "pi/12"): ("\\frac{\\sqrt6+\\sqrt2}{4}", "(sqrt(6)+sqrt(2))/4"), ("tan", "pi/12"): ("2-\\sqrt3", "2-sqrt(3)"),
         ("tan", "5*pi/12"): ("2+\\sqrt{3}", "2+sqrt(3)"), ("cos", "2*pi/3"): ("-\\frac{1}{2}", "-Rational(1,2)"),
         ("cos", "pi/5"): ("\\frac{1+\\sqrt5}{4}", "(1+sqrt(5))/4"), ("tan", "pi/8"): ("\\sqrt{2}-1", "sqrt(2)-1"),
         ("cos", "pi/8"): ("\\frac{\\sqrt{2+\\sqrt2}}{2}", "sqrt(2+sqrt(2))/2")}


def trig(c):
    k = c.kind("trig")
    for (f, at), (tex, v) in EXACT.items():
        angle, _, deg = next(x for x in ANGLES if x[1] == at)
        call = "\\%s(%s)" % (f, angle)
        k.yes(tex, call, "exact value", v, "%s(%s)" % (f, at))
        k.yes(call, "\\%s%s" % (f, angle), "brackets", "%s(%s)" % (f, at))
        if deg:
            k.yes(tex, "\\%s %d^\\circ" % (f, deg), "degrees", v, "%s(%s)" % (f, at))
            k.no(tex, "\\%s %d" % (f, deg), "radians, not degrees", v, "%s(%d)" % (f, deg))
        k.no(tex, "-" + call, "sign", v, "-%s(%s)" % (f, at))
        o = {"sin": "tan", "cos": "sin", "tan": "sin"}[f]
        k.no(tex, "\\%s(%s)" % (o, angle), "another function", v, "%s(%s)" % (o, at))
        k.no(call, "\\%s(%s)" % (f, angle.replace("\\pi", "\\pi^2")), "another argument", "%s(%s)" % (f, at),
             "%s(%s)" % (f, at.replace("pi", "pi**2")))
    identities = [("\\sin 2x", "2\\sin x\\cos x", "2\\sin x\\cos 2x", "sin(2*x)", "2*sin(x)*cos(x)", "2*sin(x)*cos(2*x)"),
                  ("\\cos 2x", "1-2\\sin^2 x", "1-2\\sin x", "cos(2*x)", "1-2*sin(x)**2", "1-2*sin(x)"),
                  ("\\sin^2 x", "1-\\cos^2 x", "1+\\cos^2 x", "sin(x)**2", "1-cos(x)**2", "1+cos(x)**2"),
                  ("\\tan x", "\\frac{\\sin x}{\\cos x}", "\\frac{\\cos x}{\\sin x}", "tan(x)", "sin(x)/cos(x)", "cos(x)/sin(x)"),
                  ("\\sec^2 x", "1+\\tan^2 x", "1-\\tan^2 x", "sec(x)**2", "1+tan(x)**2", "1-tan(x)**2"),
                  ("\\sin(x)^2", "(\\sin x)^2", "\\sin(x^2)", "sin(x)**2", "sin(x)**2", "sin(x**2)"),
                  ("\\sin(x+y)", "\\sin x\\cos y+\\cos x\\sin y", "\\sin x+\\sin y", "sin(x+y)",
                   "sin(x)*cos(y)+cos(x)*sin(y)", "sin(x)+sin(y)"),
                  ("\\cos 3x", "4\\cos^3 x-3\\cos x", "4\\cos^3 x+3\\cos x", "cos(3*x)", "4*cos(x)**3-3*cos(x)", "4*cos(x)**3+3*cos(x)"),
                  ("\\sin^{-1} x", "\\arcsin x", "\\frac{1}{\\sin x}", "asin(x)", "asin(x)", "1/sin(x)"),
                  ("\\arctan 1", "\\frac{\\pi}{4}", "\\frac{\\pi}{3}", "atan(1)", "pi/4", "pi/3"),
                  ("\\arctan x", "\\tan^{-1}(x)", "\\cot x", "atan(x)", "atan(x)", "cot(x)"),
                  ("\\cot x", "\\frac{1}{\\tan x}", "\\tan x", "cot(x)", "1/tan(x)", "tan(x)"),
                  ("\\cosh x", "\\frac{e^x+e^{-x}}{2}", "\\frac{e^x-e^{-x}}{2}", "cosh(x)", "(exp(x)+exp(-x))/2", "(exp(x)-exp(-x))/2"),
                  ("\\sin^4 x-\\cos^4 x", "-\\cos 2x", "\\cos 2x", "sin(x)**4-cos(x)**4", "-cos(2*x)", "cos(2*x)")]
    for g, a, n, vg, va, vn in identities:
        k.yes(g, a, "identity", vg, va)
        k.yes(a, g, "identity, turned", va, vg)
        k.no(g, n, "no identity", vg, vn)
        k.no(a, n, "no identity", va, vn)
        k.no(g, g.replace("x", "t"), "another symbol", vg, vg.replace("x", "t").replace("etp", "exp") if "x" in vg else vg + "+1") if "x" in g and "y" not in g else None


def log(c):
    k = c.kind("log")
    r = k.r
    for i in range(20):
        a, b = r.sample([2, 3, 5, 7, 11, 13], 2)
        n = r.randrange(2, 6)
        k.yes("\\ln %d" % (a * b), "\\ln %d+\\ln %d" % (a, b), "log of a product", "log(%d)" % (a * b), "log(%d)+log(%d)" % (a, b))
        k.yes("%d\\ln %d" % (n, a), "\\ln %d" % a ** n, "log of a power", "%d*log(%d)" % (n, a), "log(%d)" % a ** n)
        k.yes("\\log_{%d} %d" % (a, b), "\\frac{\\ln %d}{\\ln %d}" % (b, a), "change of base", "log(%d)/log(%d)" % (b, a))
        k.yes("\\log_{%d}(%d)" % (a, a ** n), str(n), "a whole number", str(n))
        k.yes("\\ln\\frac{%d}{%d}" % (a, b), "\\ln(%d)-\\ln(%d)" % (a, b), "log of a quotient", "log(%d)-log(%d)" % (a, b))
        k.no("\\ln %d" % (a * b), "\\ln %d\\cdot\\ln %d" % (a, b), "product of logs", "log(%d)" % (a * b), "log(%d)*log(%d)" % (a, b))
        k.no("\\log_{%d} %d" % (a, b), "\\log_{%d} %d" % (b, a), "base and argument", "log(%d)/log(%d)" % (b, a), "log(%d)/log(%d)" % (a, b))
        k.no("%d\\ln %d" % (n, a), "\\ln %d" % (a * n), "factor as argument", "%d*log(%d)" % (n, a), "log(%d)" % (a * n))
        k.no("\\ln %d" % a, "\\ln %d" % (a + 1), "argument", "log(%d)" % a, "log(%d)" % (a + 1))
        k.no("\\ln\\frac{%d}{%d}" % (a, b), "\\frac{\\ln %d}{\\ln %d}" % (a, b), "quotient of logs", "log(%d)-log(%d)" % (a, b), "log(%d)/log(%d)" % (a, b))
        k.no("\\log_{%d} %d" % (a, b), "\\ln %d" % b, "base dropped", "log(%d)/log(%d)" % (b, a), "log(%d)" % b)
    k.yes("\\ln(x^2-1)", "\\ln(x-1)+\\ln(x+1)", "symbols, for x > 1")
    k.yes("e^{2\\ln 3}", "9", "inverse", "9")
    k.yes("\\ln e^5", "5", "inverse", "5")
    k.no("\\ln(x+1)", "\\ln x+1", "brackets", "log(x+1)", "log(x)+1")


def power(c):
    k = c.kind("power")
    r = k.r
    for i in range(24):
        a, n = r.randrange(2, 8), r.randrange(5, 120)
        g, v = "%d^{%d}" % (a, n), "%d**%d" % (a, n)
        for x, why in r.sample([("%d^{%d}\\cdot %d" % (a, n - 1, a), "split"), ("%d^%d" % (a, n) if n < 10 else "%d^{%d+1}" % (a, n - 1), "braces"),
                                ("%d**%d" % (a, n), "plain text"), ("\\frac{%d^{%d}}{%d}" % (a, n + 1, a), "quotient"),
                                (str(a ** n), "written out"), ("\\left(%d^{%d}\\right)^{1}" % (a, n), "power of one")], 2):
            k.yes(g, x, why, v)
        for x, w, why in r.sample([("%d^{%d}" % (a, n + 1), "%d**%d" % (a, n + 1), "exponent"), ("%d^{%d}" % (a + 1, n), "%d**%d" % (a + 1, n), "base"),
                                   ("%d^{-%d}" % (a, n), "%d**(-%d)" % (a, n), "sign of the exponent"), ("%d^{%d}+1" % (a, n), v + "+1", "one more"),
                                   ("%d\\cdot %d" % (a, n), "%d*%d" % (a, n), "product"), ("\\frac{1}{%d^{%d}}" % (a, n + 1), "%d**(-%d)" % (a, n + 1), "reciprocal")], 3):
            k.no(g, x, why, v, w)
    for n in [5, 7, 10, 12, 20, 50, 200]:
        k.yes("%d!" % n, "%d\\cdot %d!" % (n, n - 1), "factorial", "factorial(%d)" % n)
        k.yes("\\binom{%d}{2}" % n, "\\frac{%d\\cdot %d}{2}" % (n, n - 1), "binomial", "binomial(%d,2)" % n)
        k.yes("\\frac{%d!}{3!\\cdot %d!}" % (n, n - 3), "\\binom{%d}{3}" % n, "binomial", "binomial(%d,3)" % n)
        k.no("%d!" % n, "%d!" % (n + 1), "factorial", "factorial(%d)" % n, "factorial(%d)" % (n + 1))
        k.no("\\frac{1}{%d!}" % n, "\\frac{1}{%d!}" % (n + 2), "tiny difference", "1/factorial(%d)" % n, "1/factorial(%d)" % (n + 2))
        k.no("\\binom{%d}{2}" % n, "\\binom{%d}{3}" % n if n != 5 else "\\binom{5}{1}", "lower index", "binomial(%d,2)" % n, "binomial(%d,%d)" % (n, 3 if n != 5 else 1))
    for n in [2, 3, 5]:
        k.yes("e^{%d}" % n, "\\exp(%d)" % n, "exp", "exp(%d)" % n)
        k.yes("e^{%d}" % n, "exp(%d)" % n, "exp in plain text", "exp(%d)" % n)
        k.yes("e^{-%d}" % n, "\\frac{1}{e^%d}" % n, "negative power", "exp(-%d)" % n)
        k.no("e^{%d}" % n, "e^{%d}" % (n + 1), "exponent", "exp(%d)" % n, "exp(%d)" % (n + 1))
        k.no("e^{%d}" % n, "%de" % n, "product", "exp(%d)" % n, "%d*E" % n)
        k.no("e^{%d}" % n, "e%d" % n, "no power sign", "exp(%d)" % n, "%d*E" % n)


def complex_numbers(c):
    k = c.kind("complex")
    r = k.r
    for i in range(22):
        a, b = r.randrange(1, 20), r.randrange(2, 20)
        s, o = r.choice(["+-", "-+"])
        g, v = "%d%s%di" % (a, s, b), "%d%s%d*I" % (a, s, b)
        for x in r.sample(["%s%di+%d" % (s.replace("+", ""), b, a), "%d %s %d i" % (a, s, b), "%d%s%d\\mathrm{i}" % (a, s, b), "%d%si\\cdot %d" % (a, s, b),
                           "%d.0 %s %d.0i" % (a, s, b), "(%d%s%di)" % (a, s, b), "z = " + g], 2):
            k.yes(g, x, "the same complex number", v)
        for x, w, why in r.sample([("%d%s%di" % (a, o, b), "%d%s%d*I" % (a, o, b), "conjugate"), ("-%d%s%di" % (a, s, b), "-%d%s%d*I" % (a, s, b), "sign"),
                                   ("%d%s%di" % (a + 1, s, b), "%d%s%d*I" % (a + 1, s, b), "real part"), ("%d%s%d" % (a, s, b), "%d%s%d" % (a, s, b), "i is missing"),
                                   ("%d%s%di" % (a, s, b + 1), "%d%s%d*I" % (a, s, b + 1), "imaginary part"), (str(a), str(a), "real part only")], 3):
            k.no(g, x, why, v, w)
    k.yes("e^{i\\pi}", "-1", "Euler", "-1")
    k.yes("(1+i)^2", "2i", "square", "2*I")
    k.yes("\\frac{1}{i}", "-i", "reciprocal", "-I")
    k.yes("\\sqrt{-4}", "2i", "principal root", "2*I")
    k.no("e^{i\\pi/2}", "-i", "angle", "I", "-I")


SYMBOLS = ["x", "n", "a", "t", "k", "m", "z", "y"]


def algebraic(c):
    k = c.kind("algebraic")
    r = k.r
    for i in range(46):
        x = r.choice(SYMBOLS)
        p, q = r.choice([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7]), r.choice([-7, -3, -2, 1, 2, 3, 4, 5])
        co = [1, p + q, p * q]
        g, v = poly(co, x), poly(co, x, "*")
        forms = ["(%s%s)(%s%s)" % (x, plus(p), x, plus(q)), "%s(%s%s)%s" % (x, x, plus(p + q) if p + q else "+0", plus(p * q)),
                 plus(p * q).lstrip("+") + (plus(poly([p + q, 0], x)) if p + q else "") + "+%s^2" % x, dress(r, g)[0], v.replace("**", "^")]
        for f in r.sample(forms, 2):
            k.yes(g, f, "the same polynomial", v)
        wrong = [([1, p + q, p * q + 1], "constant"), ([1, p + q + 1, p * q], "coefficient"), ([-1, p + q, p * q], "sign"), ([1, 0, p + q, p * q], "exponent"),
                 ([2, p + q, p * q], "leading coefficient"), ([1, p + q, -p * q], "sign of the constant")]
        for w, why in r.sample(wrong, 2):
            k.no(g, poly(w, x), why, v, poly(w, x, "*"))
        if i % 3 == 0:
            y = r.choice([s for s in SYMBOLS if s != x])
            k.no(g, poly(co, y), "another symbol", v, poly(co, y, "*"))
    for i in range(20):
        x = r.choice(["x", "n", "t"])
        a, b, d = r.randrange(1, 6), r.randrange(1, 6), r.randrange(2, 7)
        g, v = "\\frac{%s}{%s}" % (poly([a, b], x), poly([1, d], x)), "(%s)/(%s)" % (poly([a, b], x, "*"), poly([1, d], x, "*"))
        if b == a * d:
            continue
        k.yes(g, "%d+\\frac{%d}{%s+%d}" % (a, b - a * d, x, d), "divided out", v)
        k.yes(g, "(%s)/(%s)" % (poly([a, b], x), poly([1, d], x)), "with a slash", v)
        k.yes(g, "\\frac{%s}{%s}" % (poly([-a, -b], x), poly([-1, -d], x)), "both signs turned", v)
        k.no(g, "\\frac{%s}{%s}" % (poly([a, b], x), poly([1, d + 1], x)), "denominator", v, "(%s)/(%s)" % (poly([a, b], x, "*"), poly([1, d + 1], x, "*")))
        k.no(g, "\\frac{%s}{%s}" % (poly([1, d], x), poly([a, b], x)), "upside down", v, "(%s)/(%s)" % (poly([1, d], x, "*"), poly([a, b], x, "*")))
        k.no(g, "%s/%s" % (poly([a, b], x), poly([1, d], x)), "brackets are missing", v, "%s/%s" % (poly([a, b], x, "*"), poly([1, d], x, "*")))
    fixed = [("\\sqrt{\\frac{1}{n}}", "\\frac{1}{\\sqrt n}", "\\frac{1}{n}", "sqrt(1/n)", "1/n"), ("\\frac{n(n+1)}{2}", "\\frac{n^2+n}{2}", "\\frac{n(n-1)}{2}", "n*(n+1)/2", "n*(n-1)/2"),
             ("x^{n+1}", "x\\cdot x^n", "x^n+1", "x**(n+1)", "x**n+1"), ("2^{n}-1", "-1+2^n", "2^{n-1}", "2**n-1", "2**(n-1)"), ("ab+ac", "a(b+c)", "ab+c", "a*b+a*c", "a*b+c"),
             ("\\frac{a^2-b^2}{a-b}", "a+b", "a-b", "a+b", "a-b"), ("(a+b)^3", "a^3+3a^2b+3ab^2+b^3", "a^3+b^3", "(a+b)**3", "a**3+b**3"),
             ("\\frac{1}{x}+\\frac{1}{y}", "\\frac{x+y}{xy}", "\\frac{1}{x+y}", "1/x+1/y", "1/(x+y)"), ("e^{x+1}", "e\\cdot e^x", "e^x+e", "exp(x+1)", "exp(x)+E"),
             ("x_1+x_2", "x_2+x_{1}", "x_1-x_2", "x1+x2", "x1-x2"), ("\\sqrt{x^4+2x^2+1}", "x^2+1", "x^2-1", "x**2+1", "x**2-1"), ("|x-3|", "|3-x|", "x-3", "Abs(x-3)", "x-3"),
             ("\\pi r^2", "r^2\\pi", "2\\pi r", "pi*r**2", "2*pi*r"), ("\\frac{4}{3}\\pi r^3", "4\\pi r^3/3", "\\frac34\\pi r^3", "4*pi*r**3/3", "3*pi*r**3/4"),
             ("3(x-1)(x+2)", "3x^2+3x-6", "3x^2+3x+6", "3*x**2+3*x-6", "3*x**2+3*x+6"), ("\\frac{x}{2}", "\\frac{1}{2}x", "\\frac{2}{x}", "x/2", "2/x"),
             ("x^{-2}", "\\frac{1}{x^2}", "-x^2", "x**-2", "-x**2"), ("\\sqrt[3]{x^2}", "x^{2/3}", "x^{3/2}", "x**Rational(2,3)", "x**Rational(3,2)"),
             ("\\frac{5}{3}x^{2/3}", "\\frac{5\\sqrt[3]{x^2}}{3}", "\\frac{5}{3}x^{5/3}", "5*x**Rational(2,3)/3", "5*x**Rational(5,3)/3"),
             ("\\lambda^2-1", "(\\lambda+1)(\\lambda-1)", "(\\lambda-1)^2", "u**2-1", "(u-1)**2"), ("f(x)=x^2", "x^2", "f(x)=x^3", "x**2", "x**3")]
    for g, a, n, v, vn in fixed:
        k.yes(g, a, "the same expression", v)
        k.yes(a, g, "turned", v)
        k.yes(a, dress(r, a)[0], "dress", v)
        k.no(g, n, "another expression", v, vn)
        k.no(a, n, "another expression", v, vn)
        k.no(g, "-(%s)" % a if "=" not in a else n, "sign", v, "-(%s)" % v)


def make(c):
    for part in (surd, pi_terms, trig, log, power, complex_numbers, algebraic):
        part(c)
