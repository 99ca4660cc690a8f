#!/usr/bin/env python3
"""Random Unicode strings with the ids that the Python package `tokenizers` gives them, as JSON lines.

    python tokenizer_random.py TOKENIZER.json --count 20000 --seed 1 --out FILE

Rows: {"text", "ids", "decoded"} (decoded with special tokens kept); the first row is {"version"} of the package.
text/text_golden_test.cpp runs this script and compares; exit code 3 = the package is not installed.
"""
import argparse
import json
import random
import sys

try:
    import tokenizers
except ImportError:
    sys.exit(3)

SPACES = " \t\n\r\v\f\x85\xa0\u1680\u180e\u2000\u2003\u2007\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
BLOCKS = [(0x20, 0x7E), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x530, 0x6FF), (0x700, 0xFFF), (0x1000, 0x1FFF),
          (0x2000, 0x2BFF), (0x2C00, 0x2FFF), (0x3000, 0x33FF), (0x4E00, 0x9FFF), (0x9FA0, 0x9FFF), (0xA000, 0xABFF),
          (0xAC00, 0xD7FF), (0xE000, 0xF8FF), (0xF900, 0xFFFF), (0x10000, 0x10FFF), (0x11000, 0x12FFF), (0x13000, 0x16FFF),
          (0x17000, 0x1BCFF), (0x1D000, 0x1DFFF), (0x1E000, 0x1EFFF), (0x1F000, 0x1FAFF), (0x20000, 0x3FFFF), (0xE0000, 0x10FFFF)]
MARKS = "\u0300\u0301\u0308\u0323\u0327\u0345\u05b0\u064b\u093c\u0e38\u302a\u3099\u309a\u1161\u11a8\u200d\ufe0f\u20e3"
DIGITS = "0123456789٠١٢३४௧๕७０９²³¹½Ⅷⅷ①㊿一〇𝟘𝟡𐒠𑁦🄁"
SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¢£§«»“”‘’…–—、。「」！？￥€∑√∞≈⊂→⇒■◆★"
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇨🇳", "❤️", "1️⃣", "🧑🏿‍🚀"]
PARTS = ["'s", "'S", "'ſ", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'Ve", "'m", "'M", "'ll", "'LL", "'lL", "'d", "'D", "’s", "'K", "''",
         "\r\n", "\n\n", "\n \n", " \n", "\t\n ", "  ", "   ", "\n  \t", " a", "a ", "é", "e\u0301", "Å", "A\u030a", "\u212b", "가", "\u1100\u1161",
         "\u1100\u1161\u11a8", "ﬁ", "Ǆ", "İ", "ß", "ẞ", "ſ", "K", "Ω", "\u0344", "\u2126", "\u0958", "\ufb1d", "ｶﾞ", "１２３４", "12345", "3.14",
         "1,000,000", "$x^2$", "\\frac{1}{2}", "\\boxed{42}", "def f(x):\n    return x", "中文", "数学题：", "ひらがな", "カタカナ", "русский",
         "עברית", "العربية", "ไทย", "हिन्दी", "한국어", "Ελληνικά", "<think>", "</think>", "\x00", "\x1b[0m", "\x7f", "\u0378", "\U000323b0",
         "\U00011de0", "\U00016ff4", "\U0001e130", "\u08d3", "\u07fd", "\U00010d24"]


def make_text(rng, specials, words):
    out = []
    for _ in range(rng.choice([0, 1, 2, 3, 4, 6, 8, 12, 20, 40])):
        kind = rng.randrange(14)
        if kind == 0:
            out.append("".join(chr(rng.randint(0x20, 0x7E)) for _ in range(rng.randint(1, 12))))
        elif kind == 1:
            low, high = rng.choice(BLOCKS)
            out.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8))))
        elif kind == 2:
            out.append("".join(rng.choice(SPACES) for _ in range(rng.randint(1, 5))))
        elif kind == 3:
            out.append("".join(rng.choice(DIGITS) for _ in range(rng.randint(1, 7))))
        elif kind == 4:
            out.append("".join(rng.choice(SIGNS) for _ in range(rng.randint(1, 4))))
        elif kind == 5:
            out.append(rng.choice("aeonuAEкकก") + "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 4))))
        elif kind == 6:
            out.append(rng.choice(EMOJI))
        elif kind in (7, 8):
            out.append(rng.choice(PARTS))
        elif kind == 9 and specials:
            s = rng.choice(specials)
            out.append(rng.choice([s, s, s[:-1], s[1:], " " + s + " ", s.upper(), s + s]))
        elif kind == 10:
            out.append(rng.choice(["a", " ", "\n", "ab", "=", "-", "0", "哈", "é", " a", "\t", "ha"]) * rng.randint(2, 70))
        else:
            out.append(rng.choice(["", " ", " "]) + rng.choice(words))
    text = "".join(out)
    return "".join(c for c in text if not 0xD800 <= ord(c) < 0xE000)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("tokenizer"), ap.add_argument("--count", type=int, default=20000)
    ap.add_argument("--seed", type=int, default=1), ap.add_argument("--out", required=True)
    args = ap.parse_args()
    tok = tokenizers.Tokenizer.from_file(args.tokenizer)
    specials = sorted(t.content for t in tok.get_added_tokens_decoder().values())
    vocab = sorted(tok.get_vocab(with_added_tokens=False).items(), key=lambda e: e[1])
    rng = random.Random(args.seed)
    words = [tok.decode([i]) for _, i in rng.sample(vocab, 3000)]
    words = [w for w in words if "\ufffd" not in w and w] or ["word"]
    with open(args.out, "w", encoding="utf-8") as f:
        f.write(json.dumps({"version": tokenizers.__version__}) + "\n")
        for _ in range(args.count):
            text = make_text(rng, specials, words)
            ids = tok.encode(text, add_special_tokens=False).ids
            row = {"text": text, "ids": ids, "decoded": tok.decode(ids, skip_special_tokens=False)}
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


main()
