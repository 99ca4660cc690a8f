"""Numbers in all their forms: integers, fractions, decimals, mixed, repeating, percent, units, degrees, bases."""
from fractions import Fraction
from math import gcd

from corpus import FULL, dress, frac


def mutate_digit(r, n):
    s = str(abs(n))
    i = r.randrange(len(s))
    d = r.choice([c for c in "123456789" if c != s[i]])
    return int(s[:i] + d + s[i + 1:]) * (-1 if n < 0 else 1)


def integer(c):
    k = c.kind("integer")
    r = k.r
    for i in range(30):
        n = r.randrange(1, 10 ** r.choice([1, 2, 3, 4, 6, 7])) * r.choice([1, 1, 1, -1])
        s = str(n)
        forms = ["%d.0" % n, "+%d" % n if n > 0 else "-%d.00" % -n, s.translate(FULL), "$%d$" % n, "\\text{%d}" % n,
                 frac(3 * n, 3), "%d/1" % n, "\\mathbf{%d}" % n, "x = %d" % n]
        if abs(n) >= 1000:
            forms += ["{:,}".format(n), "{:,}".format(n).replace(",", "{,}"), "{:,}".format(n).replace(",", "\\,"),
                      "{:,}".format(n).replace(",", ",\\!")]
        for f in r.sample(forms, 2):
            k.yes(s, f, "the same integer", s)
        for m in {mutate_digit(r, n), -n, n * 10, n + 1}:
            if m != n:
                k.no(s, str(m), "another integer", s, str(m))
    for n, m in [(10 ** 20, 10 ** 20 + 1), (2 ** 64, 2 ** 64 - 1), (123456789012345678901, 123456789012345678911)]:
        k.no(str(n), str(m), "differ beyond double precision", str(n), str(m))
        k.yes(str(n), "{:,}".format(n), "thousands separators", str(n))


def fraction(c):
    k = c.kind("fraction")
    r = k.r
    for i in range(34):
        b = r.randrange(3, 60)
        a = r.choice([x for x in range(2, 90) if gcd(x, b) == 1])
        sign = r.choice(["", "", "-"])
        g, v = sign + frac(a, b), "%s%d/%d" % (sign, a, b)
        m = r.randrange(2, 6)
        forms = [sign + frac(a, b, "\\dfrac"), sign + frac(a, b, "\\tfrac"), "%s%d/%d" % (sign, a, b),
                 sign + frac(a * m, b * m), frac(sign + str(a), b), "%s%d / %d" % (sign, a, b),
                 "%s(%d)/(%d)" % (sign, a, b), "%s%d \\div %d" % (sign, a, b), "%s%d:%d" % (sign, a, b)][:8]
        for f in r.sample(forms, 2):
            k.yes(g, f, "the same fraction", v)
        wrong = [(a + 1, b), (a, b + 1), (b, a), (a + b, b), (a, b * 10)]
        for x, y in r.sample(wrong, 2):
            k.no(g, sign + frac(x, y), "another fraction", v, "%s%d/%d" % (sign, x, y))
        k.no(g, ("" if sign else "-") + frac(a, b), "sign", v, "%s%d/%d" % ("" if sign else "-", a, b))
        if i % 4 == 0:
            k.no(g, "%s%d" % (sign, a), "the numerator alone", v, "%s%d" % (sign, a))


def decimal(c):
    k = c.kind("decimal")
    r = k.r
    for i in range(26):
        places = r.randrange(1, 5)
        n = r.randrange(10 ** places // 10 + 1, 10 ** (places + 1))
        n += n % 10 == 0
        f = Fraction(n, 10 ** places)
        s = "%d.%0*d" % (n // 10 ** places, places, n % 10 ** places)
        v = "Rational(%d,%d)" % (n, 10 ** places)
        forms = [s + "0", s + "00", frac(f.numerator, f.denominator), "%d/%d" % (f.numerator, f.denominator),
                 "%d \\times 10^{-%d}" % (n, places), s.translate(FULL), "%de-%d" % (n, places)]
        if s.startswith("0."):
            forms.append(s[1:])
        for x in r.sample(forms, 2):
            k.yes(s, x, "the same decimal", v)
        wrong = [(n + 1, places), (n, places + 1), (n * 10 + 1, places + 1), (n + 10 ** places, places)]
        for m, p in r.sample(wrong, 2):
            k.no(s, "%d.%0*d" % (m // 10 ** p, p, m % 10 ** p), "another decimal", v, "Rational(%d,%d)" % (m, 10 ** p))
        k.no(s, "-" + s, "sign", v, "-" + v)
    for a, b in [(1, 3), (2, 7), (22, 7), (5, 9), (17, 12), (100, 3), (8, 13)]:
        f = Fraction(a, b)
        good = "%.5f" % (a / b)
        k.yes(frac(a, b), good, "correctly rounded to its own digits", "round5(Rational(%d,%d))" % (a, b),
              "Rational('%s')" % good)
        bad = "%.5f" % (a / b + 0.00002)
        k.no(frac(a, b), bad, "not the rounding of the gold", "round5(Rational(%d,%d))" % (a, b), "Rational('%s')" % bad)
        k.no(frac(a, b), "%.1f" % (a / b) if f < 10 else "%.0f" % (a / b), "too few digits for a rounding",
             "Rational(%d,%d)" % (a, b), "Rational('%.1f')" % (a / b))


def mixed(c):
    k = c.kind("mixed")
    r = k.r
    for i in range(22):
        b = r.randrange(2, 20)
        a = r.choice([x for x in range(1, b) if gcd(x, b) == 1])
        w = r.randrange(1, 40)
        top = w * b + a
        g, v = "%d%s" % (w, frac(a, b)), "%d/%d" % (top, b)
        for x in r.sample([frac(top, b), "%d/%d" % (top, b), "%d %d/%d" % (w, a, b), "%d\\dfrac{%d}{%d}" % (w, a, b),
                           "%d + %s" % (w, frac(a, b))], 2):
            k.yes(g, x, "a mixed number is a sum", v)
        k.no(g, frac(w * a, b), "a mixed number is no product", v, "%d/%d" % (w * a, b))
        k.no(g, "%d%s" % (w + 1, frac(a, b)), "whole part", v, "%d/%d" % (top + b, b))
        if 2 * a != b:
            k.no(g, "%d%s" % (w, frac(b - a, b)), "fraction part", v, "%d/%d" % (w * b + b - a, b))


def repeating(c):
    k = c.kind("repeating")
    r = k.r
    for i in range(16):
        n = r.randrange(1, 3)
        p = r.randrange(1, 10 ** n - 1)
        block = "%0*d" % (n, p)
        f = Fraction(p, 10 ** n - 1)
        g, v = "0.\\overline{%s}" % block, "Rational(%d,%d)" % (f.numerator, f.denominator)
        k.yes(g, frac(f.numerator, f.denominator), "as a fraction", v)
        k.yes("%d/%d" % (f.numerator, f.denominator), g, "as a repeating decimal", v)
        k.yes(g, "0.%s\\overline{%s}" % (block, block), "one period written out", v)
        q = p % (10 ** n - 1) + 1
        k.no(g, "0.\\overline{%0*d}" % (n, q), "another period", v, "Rational(%d,%d)" % (q, 10 ** n - 1))
        k.no(g, "0.%s" % block, "the bar is missing", v, "Rational('0.%s')" % block)
        k.no(frac(f.numerator, f.denominator), "0.0\\overline{%s}" % block, "shifted", v, v + "/10")


def percent(c):
    k = c.kind("percent")
    r = k.r
    for i in range(18):
        n = r.choice([r.randrange(1, 100), r.randrange(1, 1000) / 10 + 0.0, r.randrange(100, 400)])
        s = str(n)
        for x in r.sample(["%s\\%%" % s, "%s %%" % s, "%s percent" % s, s, "%s \\%%" % s], 2):
            k.yes(s + "\\%", x, "the sign is a unit by default", ("same", s))
        k.no(s + "\\%", str(Fraction(s) / 100), "the fraction, not the percentage", ("same", s),
             ("same", str(Fraction(s) / 100)))
        k.no(s + "\\%", "%s%%" % (Fraction(s) + 1 if n == int(n) else n + 0.1), "another percentage", ("same", s),
             ("same", str(n + 1)))
        k.no(s, "-%s\\%%" % s, "sign", ("same", s), ("same", "-" + s))


def money(c):
    k = c.kind("money")
    r = k.r
    for i in range(16):
        d, cents = r.randrange(1, 5000), r.randrange(0, 100)
        s = "%d.%02d" % (d, cents)
        for x in r.sample(["\\$" + s, "$" + s, s + " dollars", "\\$ " + s, "{:,}.{:02d}".format(d, cents),
                           "USD " + s], 2):
            k.yes("\\$" + s, x, "currency is a unit", ("same", s))
        k.no("\\$" + s, "\\$%d.%02d" % (d, (cents + 1) % 100), "cents", ("same", s), ("same", "x"))
        k.no("\\$" + s, "\\$%d.%02d" % (d + 1, cents), "dollars", ("same", s), ("same", "x"))
        k.no("\\$" + s, s + "\u20ac", "another currency", ("same", s + " usd"), ("same", s + " eur"))


UNITS = [("cm", "centimeters"), ("m", "meters"), ("km", "kilometers"), ("kg", "kilograms"), ("g", "grams"),
         ("mm", "millimeters"), ("hours", "hour"), ("minutes", "min"), ("seconds", "s"), ("days", "day")]


def units(c):
    k = c.kind("units")
    r = k.r
    for i in range(30):
        n = r.randrange(2, 400)
        (u, long), (other, _) = r.sample(UNITS, 2)
        g = "%d\\text{ %s}" % (n, u)
        for x in r.sample(["%d %s" % (n, u), "%d\\,\\text{%s}" % (n, u), "%d \\mathrm{~%s}" % (n, u), "%d %s" % (n, long),
                           str(n), "%d \\text{ %s}" % (n, long)], 2):
            k.yes(g, x, "the same quantity, or no unit", ("same", n, u))
        k.no(g, "%d\\text{ %s}" % (n + 1, u), "value", ("same", n, u), ("same", n + 1, u))
        k.no(g, "%d\\text{ %s}" % (n, other), "unit", ("same", n, u), ("same", n, other))
    for u in ["cm", "m", "km", "ft"]:
        n = r.randrange(2, 90)
        k.yes("%d\\text{ %s}^2" % (n, u), "%d \\mathrm{%s}^{2}" % (n, u), "square unit", ("same", n, u + "2"))
        k.yes("%d\\text{ square %s}" % (n, u), "%d \\text{ %s}^2" % (n, u), "square unit", ("same", n, u + "2"))
        k.no("%d\\text{ %s}^2" % (n, u), "%d \\text{ %s}^3" % (n, u), "power of the unit", ("same", n, u + "2"),
             ("same", n, u + "3"))
        k.no("%d\\text{ %s}^2" % (n, u), "%d \\text{ %s}" % (n, u), "power of the unit", ("same", n, u + "2"),
             ("same", n, u))
        k.no("%d\\text{ %s}^2" % (n, u), "%d" % (n * n), "the unit's power is not the number's", ("same", n),
             ("same", n * n))


def degree(c):
    k = c.kind("degree")
    r = k.r
    for n in [15, 18, 30, 36, 45, 60, 72, 75, 90, 105, 120, 135, 144, 150, 180, 270]:
        f = Fraction(n, 180)
        g, v = "%d^\\circ" % n, "pi*Rational(%d,180)" % n
        radians = frac("\\pi" if f.numerator == 1 else "%d\\pi" % f.numerator, f.denominator) if f.denominator > 1 else "\\pi"
        if n == 270:
            radians = "\\frac{3\\pi}{2}"
        for x in ["%d^{\\circ}" % n, "%d\u00b0" % n, "%d degrees" % n, "%d \\text{ degrees}" % n, str(n)]:
            if r.random() < 0.5:
                k.yes(g, x, "degrees written otherwise", ("same", n))
        k.yes(g, radians, "radians", v, "pi*Rational(%d,%d)" % (f.numerator, f.denominator))
        k.no(g, "%d^\\circ" % (n + 1), "another angle", v, "pi*Rational(%d,180)" % (n + 1))
        k.no(radians, str(n), "a number is no angle in degrees", v, str(n))
        k.no(g, frac("\\pi", n), "a wrong conversion", v, "pi/%d" % n if n != 1 else "0")


def base(c):
    k = c.kind("base")
    r = k.r
    for i in range(18):
        b = r.randrange(2, 10)
        digits = "".join(str(r.randrange(b)) for _ in range(r.randrange(2, 6))).lstrip("0") or "1"
        g = "%s_{%d}" % (digits, b)
        k.yes(g, "%s_%d" % (digits, b), "braces", ("base", digits, b))
        k.yes(g, digits + "_{%d}" % b + ".", "full stop", ("base", digits, b))
        if i % 2 == 0:
            k.yes(g, "\\text{%s}_{%d}" % (digits, b), "text", ("base", digits, b))
        o = b + 1
        k.no(g, "%s_{%d}" % (digits, o), "another base", ("same", digits, b), ("same", digits, o))
        m = digits[:-1] + str((int(digits[-1]) + 1) % b)
        k.no(g, "%s_{%d}" % (m, b), "another digit", ("base", digits, b), ("base", m, b))
        if i % 3 == 0:
            k.no(g, str(int(digits, b)) + "_{%d}" % o, "value under another base", ("same", g), ("same", "x"))


def make(c):
    for part in (integer, fraction, decimal, mixed, repeating, percent, money, units, degree, base):
        part(c)
