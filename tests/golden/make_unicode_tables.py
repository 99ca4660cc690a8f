#!/usr/bin/env python3
"""Writes text/unicode_tables.cpp: what the Hugging Face `tokenizers` package takes each code point for.

The package reads categories from three places: Oniguruma (regexes), Rust's standard library (digits, lower case) and
Rust's regex crate (words). They hold different Unicode versions and differ again from those of ICU and PCRE2, so that
ids would depend on the system's libraries. This script asks the package itself about every code point:

    python make_unicode_tables.py > ../../text/unicode_tables.cpp      # needs `tokenizers`; written with 0.23.3
"""
import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cs".split()
SURROGATES = range(0xD800, 0xE000)
CODES = [c for c in range(0x110000) if c not in SURROGATES]
TEXT = "".join(map(chr, CODES))


def members(complement):  # the code points that a one-character pattern does not match
    return {ord(c) for c in normalizers.Replace(Regex(complement), "").normalize_str(TEXT)}


def ranges(codes):
    out = []
    for c in sorted(codes):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, rows, per_line, comment, kind="std::uint32_t"):
    print(f"// {comment}\nstatic constexpr {kind} {name}Rows[] = {{")
    for i in range(0, len(rows), per_line):
        print("    " + " ".join(r + "," for r in rows[i:i + per_line]))
    print(f"}};\nconst std::span<const {kind}> {name}({name}Rows);\n")


def categories():
    category = {c: "Cs" for c in SURROGATES}
    for name in CATEGORIES[:-1]:
        for c in members(rf"\P{{{name}}}"):
            assert c not in category
            category[c] = name
    runs, c = [], 0
    while c < 0x110000:
        end = c + 1
        while end < 0x110000 and category[end] == category[c]:
            end += 1
        pair = end  # upper and lower case taking turns, as in Latin and Cyrillic: one run with the pseudo-category 30
        while pair + 1 < 0x110000 and (category[pair], category[pair + 1]) == ("Lu", "Ll"):
            pair += 2
        if end == c + 1 and category[c] == "Lu":
            pair = c
            while pair + 1 < 0x110000 and (category[pair], category[pair + 1]) == ("Lu", "Ll"):
                pair += 2
            if pair - c >= 4:
                runs.append((c, 30))
                c = pair
                continue
        runs.append((c, CATEGORIES.index(category[c])))
        c = end
    return category, runs


def numeric():
    digits, found = pre_tokenizers.Digits(True), set()
    for start in range(0, len(CODES), 4000):
        text = "_".join(map(chr, CODES[start:start + 4000]))
        found |= {ord(p) for p, _ in digits.pre_tokenize_str(text) if len(p) == 1 and p != "_"}
    return found


def lower():
    low = normalizers.Lowercase()
    simple, rules = {}, []
    for c in CODES:
        text = low.normalize_str(chr(c))
        if text != chr(c):
            if len(text) == 1:
                simple[c] = ord(text)
            else:
                assert (c, text) == (0x130, "i\u0307"), hex(c)  # the only one that becomes two: written in unicode.cpp
    codes = sorted(simple)
    i = 0
    while i < len(codes):
        delta, best = simple[codes[i]] - codes[i], (1, 1)
        for stride in (1, 2):
            n = 1
            while simple.get(codes[i] + n * stride, -1) - codes[i] - n * stride == delta and codes[i] + n * stride in simple:
                n += 1
            if n > best[0]:
                best = (n, stride)
        if best[1] == 2 and any(codes[i] + 2 * k + 1 in simple for k in range(best[0] - 1)):
            best = (1, 1)
        n, stride = best
        rules.append((codes[i], codes[i] + (n - 1) * stride, stride, delta))
        i += n
    check = {c: c + d for a, b, s, d in rules for c in range(a, b + 1, s)}
    assert check == simple
    return rules


def words():  # \w of Rust's regex crate: one piece of the Whitespace pre-tokenizer between two letters
    space = pre_tokenizers.Whitespace()
    return {c for c in CODES if len(space.pre_tokenize_str("a" + chr(c) + "a")) == 1}


def main():
    category, runs = categories()
    print(f"// Made by tests/golden/make_unicode_tables.py from tokenizers {tokenizers.__version__}. Do not edit.")
    print('#include "text/unicode_tables.h"\n\nnamespace r1::unicode_tables {\n')
    table("kCategoryRuns", [hex(c << 5 | k) for c, k in runs], 11,
          "First code point of a run << 5 | category; 30 = Lu and Ll by turns.")
    numbers = {c for c in category if category[c][0] == "N"}
    assert not numbers - numeric()
    table("kNumericExtra", [hex(c) for c in sorted(numeric() - numbers)], 12, "char::is_numeric of Rust beyond category N.")
    white = members(r"\S")
    table("kWhiteSpace", [f"{{{hex(a)}, {hex(b)}}}" for a, b in ranges(white)], 6, r"\s, first and last.", "Range")
    base = {c for c in category if category[c][0] in "LM" or category[c] in ("Nd", "Nl", "Pc")}
    crate, onig = words(), members(r"\W")
    assert base <= crate and onig == crate - {0x200C, 0x200D} | {c for c in category if category[c] == "No"} & onig
    table("kWordExtra", [f"{{{hex(a)}, {hex(b)}}}" for a, b in ranges(crate - base)], 6,
          r"\w of Rust's regex crate beyond L, M, Nd, Nl, Pc.", "Range")
    table("kWordNoOnig", [f"{{{hex(a)}, {hex(b)}}}" for a, b in ranges(onig - crate)], 6,
          r"\w of Oniguruma beyond the crate's (which also has the two joiners).", "Range")
    for script in ("Han", "Hiragana", "Katakana", "Hangul"):
        table(f"kScript{script}", [f"{{{hex(a)}, {hex(b)}}}" for a, b in ranges(members(rf"\P{{{script}}}"))], 6,
              f"\\p{{{script}}}.", "Range")
    table("kLower", [f"{{{hex(a)}, {hex(b)}, {s}, {d}}}" for a, b, s, d in lower()], 4,
          "Lower case: first, last, stride, difference.", "CaseRule")
    print("}  // namespace r1::unicode_tables")


main()
