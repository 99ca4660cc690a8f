#!/usr/bin/env python3
"""Writes generated.jsonl, the generated part of the maths corpus: always the same bytes. Plain Python.

make.py            writes the file
make.py --check    fails if the file is not what would be written
"""
import json
import pathlib
import sys

import expressions
import numbers_kinds
import shapes
import words
from corpus import Corpus


def build():
    corpus = Corpus()
    for part in (numbers_kinds, expressions, shapes, words):
        part.make(corpus)
    return corpus.rows


def main():
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row, _ in build())
    path = pathlib.Path(__file__).with_name("generated.jsonl")
    if "--check" in sys.argv:
        if path.read_text(encoding="utf-8") != text:
            sys.exit("generated.jsonl differs from what make.py writes: run make.py")
        return
    path.write_text(text, encoding="utf-8")
    rows = [row for row, _ in build()]
    print("%d pairs, %d to accept, %d to refuse, %d kinds" %
          (len(rows), sum(r["label"] for r in rows), sum(not r["label"] for r in rows), len({r["kind"] for r in rows})))


if __name__ == "__main__":
    main()
