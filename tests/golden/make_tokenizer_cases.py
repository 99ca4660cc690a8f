#!/usr/bin/env python3
"""Writes tokenizer_cases.json: small tokenizers with every component that text/ implements, and what the Python
package `tokenizers` makes of some texts. text/tokenizer_test.cpp reads it.

    python make_tokenizer_cases.py > tokenizer_cases.json          # written with tokenizers 0.23.3
"""
import copy
import json

import tokenizers

TEXTS = ["", " ", "Hello world", " Hello  world  ", "hello\n\nworld\n", "Don't you'll I'M we'RE", "a1b22c333 ٣ ½ Ⅷ", "tab\there\r\nthere",
         "caf\u00e9 cafe\u0301 \u212b \ufb01 \u1100\u1161\u11a8", "\u4f60\u597d\uff0c\u4e16\u754c\u3002123", "\U0001f600\U0001f468\u200d\U0001f469 x",
         "x<a>y <b> z", "<a><b><c>", "  <a>  <b>\n<c> word<c>word", "ABC \u0130stanbul \u03a3\u03a3 \u1e9e", "low lower newest widest", "a_b-c.d,e!f?g", "\u00a0nbsp\u3000wide\u2028line",
         "\u0000\u0001\u001f\u007f\u0085", "hugging<|x|>face <|x|> <|xy|>", "\u2581meta\u2581 space", "e\u0323\u0301 \U0001e130\u0345 \u08d3", "$x^2+1=\\frac{1}{2}$", "lowlow lowlowlow",
         "\u0378\U000323b0 \U00010d50"]

PAIRS = [("l", "o"), ("lo", "w"), ("e", "r"), ("n", "e"), ("ne", "w"), ("e", "s"), ("es", "t"), ("w", "i"), ("d", "est"), ("wi", "dest"), ("h", "e"),
         ("l", "l"), ("he", "ll"), ("hell", "o"), ("o", "w"), ("low", "low"), ("1", "2"), ("2", "2"), ("3", "3"), ("'", "s"), ("a", "_")]


def byte_alphabet():
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    chars, n = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in chars:
            chars[b] = chr(256 + n)
            n += 1
    return [chars[b] for b in range(256)]


def model(symbols, pairs, **more):
    vocab = {}
    for s in symbols + [a + b for a, b in pairs]:
        vocab.setdefault(s, len(vocab))
    return dict({"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                 "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": [list(p) for p in pairs]}, **more)


def bases():
    g = "\u0120"
    common = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
              "post_processor": None, "decoder": None}
    byte_pairs = PAIRS + [(g, "w"), (g + "w", "o"), (g, g), (g, "low"), (g, "h"), (g + "h", "e"), (g + "he", "ll"), ("\u010a", "\u010a"), ("\u00c3", "\u00a9")]
    spaced = list("\u2581abcdefghijklmnopqrstuvwxyzHDIMREABC0123456789.,!?'<>_-|$^+=\\{}()\u00e9\u4f60\u597d")
    mark = "\u2581"
    meta_pairs = PAIRS + [(mark, "h"), (mark + "h", "e"), (mark + "he", "ll"), (mark, mark), (mark, "w"), (mark + "w", "o")]
    byte_tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    suffix = [c for c in "abcdefghijklmnopqrstuvwxyz"] + [c + "</w>" for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
    hashes = list("abcdefghijklmnopqrstuvwxyzH") + ["##" + c for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
    return {
        "bytes": dict(common, model=model(byte_alphabet(), byte_pairs)),
        "meta": dict(common, model=model(byte_tokens + spaced, meta_pairs, unk_token="<unk>", byte_fallback=True, fuse_unk=True)),
        "unk": dict(common, model=model(["<unk>"] + spaced, meta_pairs, unk_token="<unk>")),
        "suffix": dict(common, model=model(["<unk>"] + suffix, [("l", "o"), ("lo", "w</w>"), ("h", "e"), ("l", "o</w>"), ("e", "r</w>")],
                                           unk_token="<unk>", end_of_word_suffix="</w>")),
        "prefix": dict(common, model={**model(["<unk>"] + hashes, [], unk_token="<unk>"), "continuing_subword_prefix": "##"}),
    }


def token(i, content, **more):
    return dict({"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}, **more)


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
RAW = dict(BYTES, use_regex=False)
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
REGEXES = [LLAMA3, O200K, r"\p{N}{1,3}+", r"\d{2}?", r"\w+|[^\w\s]+", r"(?<=[a-z])(?=[A-Z0-9])", r"\s+$|^\s+", r"[[a-z]&&[^aeiou]]+", r"[\p{Han}]+|\p{^Han}",
           r"(?i)hello|<a>", r"l++o?|o*?w", r"\bword\b|\B ", r".", r"[^\S\n]+", r"(?:ab|a)(?>b|)", r"\h+", r"x{,2}|\x{4f60}|\u597d", r"[\]\-a-c^]+"]


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def cases():
    yield "byte level", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES}
    yield "byte level with prefix space", "bytes", {"pre_tokenizer": dict(BYTES, add_prefix_space=True), "decoder": BYTES}
    yield "byte level without regex", "bytes", {"pre_tokenizer": RAW, "decoder": BYTES}
    yield "ignore merges", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES, "model": {"ignore_merges": True}}
    yield "merges as text", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES, "model": {"merges": "text"}}
    yield "missing bytes", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES, "model": {"drop": ["\u0122", "\u00c3", "\u00e4", "\u0141"]}}
    yield "byte level then split", "bytes", {"pre_tokenizer": sequence(BYTES, split("\u0120", "Removed", kind="String")), "decoder": BYTES}
    yield "byte level normalizer", "bytes", {"normalizer": {"type": "ByteLevel"}, "pre_tokenizer": split("\u0120", "MergedWithNext", kind="String"), "decoder": BYTES,
                                             "added_tokens": ["<a>", dict(content="caf\u00e9", normalized=True, special=False)]}
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase"):
        yield form, "bytes", {"normalizer": {"type": form}, "pre_tokenizer": BYTES, "decoder": BYTES}
    yield "normalizers in sequence", "bytes", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}]},
                                               "pre_tokenizer": BYTES, "decoder": BYTES}
    yield "strip left", "bytes", {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": False}, "pre_tokenizer": BYTES, "decoder": BYTES}
    yield "replace", "bytes", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "  "}, "content": " "},
                                                                                 {"type": "Replace", "pattern": {"Regex": "[0-9]+"}, "content": "<n>"}]},
                               "pre_tokenizer": BYTES, "decoder": BYTES}
    for i, pattern in enumerate(REGEXES):
        yield f"regex {i}", "bytes", {"pre_tokenizer": sequence(split(pattern), RAW), "decoder": BYTES}
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield f"{behavior} {invert}", "bytes", {"pre_tokenizer": sequence(split(r"\s|[lo]", behavior, invert), RAW), "decoder": BYTES}
    yield "split by text", "bytes", {"pre_tokenizer": sequence(split("lo", "MergedWithNext", kind="String"), RAW), "decoder": BYTES}
    for individual in (False, True):
        yield f"digits {individual}", "bytes", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": individual}, BYTES), "decoder": BYTES}
    yield "whitespace", "bytes", {"pre_tokenizer": sequence({"type": "Whitespace"}, RAW), "decoder": BYTES}
    yield "whitespace split", "bytes", {"pre_tokenizer": sequence({"type": "WhitespaceSplit"}, RAW), "decoder": BYTES}
    yield "punctuation", "bytes", {"pre_tokenizer": sequence({"type": "Punctuation", "behavior": "Contiguous"}, RAW), "decoder": BYTES}
    yield "delimiter", "bytes", {"pre_tokenizer": sequence({"type": "CharDelimiterSplit", "delimiter": "o"}, RAW), "decoder": BYTES}
    for name, flags in {"plain": {}, "lstrip": {"lstrip": True}, "rstrip": {"rstrip": True}, "both": {"lstrip": True, "rstrip": True}, "single word": {"single_word": True},
                        "normalized": {"normalized": True, "special": False}, "not special": {"special": False}}.items():
        added = [dict(content=c, **flags) for c in ("<a>", "<b>", "<c>", "<|x|>", "<|x", "low", "Hello")]
        yield f"added tokens, {name}", "bytes", {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": BYTES, "decoder": BYTES, "added_tokens": added}
    yield "mixed added tokens", "bytes", {"normalizer": {"type": "NFKC"}, "pre_tokenizer": BYTES, "decoder": BYTES,
                                          "added_tokens": ["<a>", dict(content="\u212b", normalized=True, special=False), dict(content=" <b>", rstrip=True),
                                                           dict(content="word", single_word=True, special=False), dict(content="\u4e16\u754c", special=False), dict(content="\n", special=False)]}
    specials = {"<a>": {"id": "<a>", "ids": [0], "tokens": ["<a>"]}, "<b>": {"id": "<b>", "ids": [1, 0], "tokens": ["<b>", "<a>"]}}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<a>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<b>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": specials}
    yield "template", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES, "post_processor": template}
    yield "processors in sequence", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES, "post_processor": {"type": "Sequence", "processors": [BYTES, template]}}
    yield "roberta", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES, "post_processor": {"type": "RobertaProcessing", "sep": ["<b>", 1], "cls": ["<a>", 0], "trim_offsets": True, "add_prefix_space": False}}
    yield "no decoder", "bytes", {"pre_tokenizer": BYTES}
    # SentencePiece-like
    space = "\u2581"
    llama = {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": space}, {"type": "Replace", "pattern": {"String": " "}, "content": space}]},
             "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": space}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                                                          {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}
    yield "llama 2", "meta", dict(llama, added_tokens=["<unk>", "<s>", "</s>", "<a>", dict(content="<b>", normalized=True, special=False)])
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            meta = {"type": "Metaspace", "replacement": space, "prepend_scheme": scheme, "split": cut}
            yield f"metaspace {scheme} {cut}", "meta", {"pre_tokenizer": meta, "decoder": meta, "added_tokens": ["<unk>", "<s>", "</s>", "<a>", "<b>"]}
    yield "metaspace, stripped", "meta", {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True},
                                          "pre_tokenizer": {"type": "Metaspace", "replacement": space, "prepend_scheme": "first", "split": True}, "decoder": llama["decoder"]}
    for fuse in (True, False):
        for fallback in (True, False):
            base = "meta" if fallback else "unk"
            yield f"unknown {fuse} {fallback}", base, {"pre_tokenizer": {"type": "Metaspace", "replacement": space, "prepend_scheme": "always", "split": True},
                                                      "decoder": {"type": "Metaspace", "replacement": space, "prepend_scheme": "always", "split": True},
                                                      "model": {"fuse_unk": fuse, "byte_fallback": fallback}}
    yield "part of the byte tokens", "meta", {"pre_tokenizer": {"type": "WhitespaceSplit"}, "model": {"drop": ["<0xE4>", "<0xF0>", "<0x7A>", "z"]},
                                              "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}}
    yield "unknown bytes", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES, "model": {"drop": ["x", "z", "\u00c3"], "unk_token": "a"}}
    yield "byte level with byte fallback", "bytes", {"pre_tokenizer": BYTES, "decoder": BYTES, "model": {"byte_fallback": True}}
    yield "word suffix", "suffix", {"pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": {"type": "BPEDecoder", "suffix": "</w>"}}
    yield "subword prefix", "prefix", {"pre_tokenizer": {"type": "Whitespace"}, "decoder": {"type": "Fuse"},
                                       "model": {"add": ["hel", "##lo"], "merges": []}}
    yield "strip decoder", "bytes", {"pre_tokenizer": BYTES, "decoder": {"type": "Sequence", "decoders": [{"type": "Strip", "content": "l", "start": 1, "stop": 0}, {"type": "Fuse"}]}}


def build(base, patch):
    """The tokenizer.json of a case; text/tokenizer_test.cpp does the same."""
    tok = copy.deepcopy(base)
    m = tok["model"]
    for key, value in patch.items():
        if key not in ("model", "added_tokens"):
            tok[key] = value
    for key, value in patch.get("model", {}).items():
        if key == "drop":
            for s in value:
                m["vocab"].pop(s)
            m["merges"] = [p for p in m["merges"] if p[0] in m["vocab"] and p[1] in m["vocab"] and p[0] + p[1] in m["vocab"]]
        elif key == "add":
            for s in value:
                m["vocab"][s] = max(m["vocab"].values()) + 1
        elif value == "text":
            m["merges"] = [" ".join(p) for p in m["merges"]]
        else:
            m[key] = value
    count = len(m["vocab"])
    for entry in patch.get("added_tokens", []):
        entry = {"content": entry} if isinstance(entry, str) else entry
        known = m["vocab"].get(entry["content"])
        tok["added_tokens"].append(token(count if known is None else known, **entry))
        count += known is None
    return tok


def main():
    base = bases()
    out = {"tokenizers": tokenizers.__version__, "texts": TEXTS, "bases": base, "cases": []}
    for name, kind, patch in cases():
        tok = tokenizers.Tokenizer.from_str(json.dumps(build(base[kind], patch)))
        rows = []
        for text in TEXTS:
            ids, special = tok.encode(text, add_special_tokens=False).ids, tok.encode(text).ids
            row = {"ids": ids, "decoded": tok.decode(ids, skip_special_tokens=False)}
            if special != ids:
                row["special"] = special
            if (skipped := tok.decode(ids)) != row["decoded"]:
                row["skipped"] = skipped
            rows.append(row)
        out["cases"].append({"name": name, "base": kind, "patch": patch, "rows": rows})
    print(json.dumps(out, ensure_ascii=True, separators=(",", ":")).replace('{"name"', '\n{"name"'))


main()
