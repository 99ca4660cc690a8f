"""Graders of mathematics as other projects define them: small re-implementations of their public definitions.

Each is a function (gold, answer) -> bool on answers that were extracted already; a grader that fails says False, as it does in use.
Definitions followed (names of the public repositories): hendrycks/math `is_equiv`; EleutherAI's lm-evaluation-harness, Minerva's
`normalize_final_answer`; openai/prm800k `grading/grader.py`. Math-Verify is called as its page says.
"""

import re

# --- white space


def string_equality(gold, answer):
    return "".join(gold.split()) == "".join(answer.split())


# --- Hendrycks et al.: string rules, then ==


def _hendrycks_fracs(s):
    # "\frac12" -> "\frac{1}{2}"; "\frac1{72}" -> "\frac{1}{72}"
    head, *rest = s.split("\\frac")
    for part in rest:
        head += "\\frac"
        if part[:1] == "{":
            head += part
        elif len(part) < 2:
            return s
        elif part[1] != "{":
            head += "{%s}{%s}%s" % (part[0], part[1], part[2:])
        else:
            head += "{%s}%s" % (part[0], part[1:])
    return head


def hendrycks_form(s):
    s = s.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    s = s.replace("tfrac", "frac").replace("dfrac", "frac").replace("\\left", "").replace("\\right", "")
    s = s.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    if s.count("\\text{ ") == 1:
        s = s.split("\\text{ ")[0]
    s = s.replace("\\%", "").replace("%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not s:
        return s
    if s[0] == ".":
        s = "0" + s
    sides = s.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        s = sides[1]
    s = re.sub(r"\\sqrt([^{])", r"\\sqrt{\1}", s).replace(" ", "")
    s = _hendrycks_fracs(s)
    if s == "0.5":
        s = "\\frac{1}{2}"
    whole = re.fullmatch(r"(-?\d+)/(-?\d+)", s)
    return "\\frac{%d}{%d}" % (int(whole[1]), int(whole[2])) if whole and s == "%d/%d" % (int(whole[1]), int(whole[2])) else s


def hendrycks(gold, answer):
    return hendrycks_form(gold) == hendrycks_form(answer)


# --- Minerva (Lewkowycz et al., appendix D.1), as lm-eval and verl's math_dapo use it

_MINERVA_REPLACED = [("an ", ""), ("a ", ""), (".$", "$"), ("\\$", ""), ("\\ ", ""), (" ", ""), ("mbox", "text"),
                     (",\\text{and}", ","), ("\\text{and}", ","), ("\\text{m}", "\\text{}")]  # fmt: skip
_MINERVA_REMOVED = (
    "square ways integers dollars mph inches ft hours km units \\ldots sue points feet minutes digits cents degrees cm gm pounds meters "
    "meals edges students childrentickets multiples \\text{s} \\text{.} \\text{}^2 \\text{}^3 \\text{} \\mathrm{th} ^\\circ ^{\\circ} \\; "
    ',\\! {,} " \\dots'
).split()


def minerva_form(s):
    s = s.split("=")[-1]
    for old, new in _MINERVA_REPLACED:
        s = s.replace(old, new)
    for old in _MINERVA_REMOVED:
        s = s.replace(old, "")
    s = re.sub(r"(.*?)(\$)(.*?)(\$)(.*)", r"$\3$", s)
    for command in ("text", "textbf", "overline"):
        s = re.sub(r"(\\%s\{)(.*?)(\})" % command, r"\2", s)
    s = re.sub(r"(\\boxed\{)(.*)(\})", r"\2", s)
    s = re.sub(r"(frac)([^{])(.)", r"frac{\2}{\3}", s)
    s = re.sub(r"(sqrt)([^{])", r"sqrt{\2}", s).replace("$", "")
    return s.replace(",", "") if s.replace(",", "").isdigit() else s


def minerva(gold, answer):
    return minerva_form(gold) == minerva_form(answer)


# --- prm800k: Hendrycks-like strings, then LaTeX to text, then SymPy

_UNITS = "degree cm centimeter meter mile second minute hour day week month year foot feet inch yard".split()


def _no_commas(s):
    while (t := re.sub(r"(\d)(,)(\d\d\d)($|\D)", r"\1\3\4", s)) != s:
        s = t
    return s


def _whole(s):
    try:
        x = float(_no_commas(s))
        return abs(x - round(x)) <= 1e-7
    except (ValueError, OverflowError):
        return False


def prm800k_form(s):
    from pylatexenc import latex2text

    text = re.search(r"^\\text\{(.+?)\}$", s)
    s = text[1] if text else s
    for old, new in [("\\%", "%"), ("\\$", "$"), ("$", ""), ("%", ""), (" or ", " , "), (" and ", " , "), ("million", "*10^6"),
                     ("billion", "*10^9"), ("trillion", "*10^12")]:  # fmt: skip
        s = s.replace(old, new)
    for unit in _UNITS:
        s = re.sub(unit + r"(es)?(s)? *(\^[0-9]+)?", "", s)
    s = re.sub(r"\^ *\\circ", "", s)
    if s and s[0] == "{" and s[-1] == "}":
        s = s[1:-1]
    s = re.sub(r",\\! *", "", s)
    try:
        if abs(float(s) - round(float(s))) <= 1e-7:
            s = str(round(float(s)))
    except (ValueError, OverflowError):
        pass
    if "\\" in s:
        try:
            t = s.replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac").replace("\\frac", " \\frac")
            t = latex2text.LatexNodes2Text().latex_to_text(t)
            for old, new in [("\u221a", "sqrt"), ("\u03c0", "pi"), ("\u221e", "inf"), ("\u222a", "U"), ("\u00b7", "*"), ("\u00d7", "*")]:
                t = t.replace(old, new)
            s = t.strip()
        except Exception:  # the grader goes on with the LaTeX
            pass
    s = re.sub(r"([0-9]) +([0-9])", r"\1+\2", re.sub(r"- *", "-", s))
    s = s.replace(" ", "").replace("{", "").replace("}", "").lower()
    return str(int(float(s.replace(",", "")))) if _whole(s) else s


def _prm800k_parts(s):
    s = _no_commas(s)
    if len(s) > 2 and s[0] in "()[]" and s[-1] in "()[]" and not any(c in s[1:-1] for c in "()[]"):
        return [x.strip() for x in s[1:-1].split(",")]
    return [s] if s else []


def _prm800k_sympy(g, a):
    import sympy
    from sympy.parsing import sympy_parser as p

    e = "(%s)-(%s)" % (g, a)
    letters = {c for c in e.replace("sqrt", "").replace("frac", "") if c.isalpha()}
    if len(letters) > 2 or "^{" in e or "^(" in e or re.search(r"\^[0-9]+\^", e) or re.search(r"\^[0-9][0-9]+", e):
        return False
    try:
        parsed = p.parse_expr(e.replace("^", "**"), transformations=p.standard_transformations + (p.implicit_multiplication_application,))
        return sympy.simplify(parsed) == 0
    except Exception:
        return False


def prm800k(gold, answer):
    if hendrycks_form(gold) == hendrycks_form(answer):
        return True
    g, a = prm800k_form(gold), prm800k_form(answer)
    if g == a:
        return True
    if not a:
        return False
    gs, answers = _prm800k_parts(g), _prm800k_parts(a)
    if len(gs) > 1 and (g[0] != a[0] or g[-1] != a[-1]) or len(gs) != len(answers):
        return False
    fraction = re.compile(r"^-?[0-9]+.?/0*[1-9][0-9]*.?$")
    for x, y in zip(gs, answers):
        if fraction.search(x) and fraction.search(y):
            ok = x == y  # must be reduced
        elif _whole(x) != _whole(y):
            ok = False
        else:
            ok = _prm800k_sympy(x, y)
        if not ok:
            return False
    return bool(gs)


# --- Math-Verify


def math_verify(gold, answer):
    from math_verify import parse, verify

    def boxed(s):
        return s if "\\boxed" in s or "$" in s or "\\(" in s else "\\boxed{%s}" % s

    # Its alarm counts wall time: a minute, so that a busy machine costs it no verdict.
    return bool(verify(parse(boxed(gold), parsing_timeout=60), parse(boxed(answer), parsing_timeout=60), timeout_seconds=60))


GRADERS = {
    "math_verify": math_verify,
    "prm800k": prm800k,
    "minerva": minerva,
    "hendrycks": hendrycks,
    "string_equality": string_equality,
}
