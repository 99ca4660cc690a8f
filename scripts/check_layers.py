#!/usr/bin/env python3
"""Holds the includes of all sources against the table "Layers" of docs/architecture.md: a target may include its own headers and those of the targets
that its row names, with what stands behind these. A header without a .cpp of its name belongs to whoever includes it, and is looked through.

usage: scripts/check_layers.py [--graph] [PAGE]   exit code 1 and a line for each include that goes against the table"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ["core", "text", "rewards", "proto", "kernels", "comm", "model", "rollout", "rl", "sft", "preference", "kd", "distill", "recipes", "doctor", "hub",
           "replay", "watch", "report"]


def allowed(page):
    """target -> all targets that it may include, itself among them; in the order of the page, where a row names rows above it only."""
    direct = {}
    for line in page.read_text().split("## Layers")[1].split("\n## ")[0].splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if len(cells) < 5 or not cells[0].startswith("`"):
            continue
        targets, words = re.findall(r"`r1_(\w+)`", cells[0]), re.findall(r"\w+", cells[2])
        before = set(direct)
        for i, t in enumerate(targets):
            direct[t] = set(before) if "all above" in cells[2] else {w for w in words if w in before}
            direct[t] |= set(targets[:i])
            if "their CPU twins" in cells[2]:
                direct[t].add(t.removesuffix("_gpu"))
    closed = {}
    for t, names in direct.items():  # those named are above, so they are closed
        closed[t] = {t}.union(*(closed[n] for n in names))
    return closed


def targets_of_sources():
    """source -> target, by the r1_library() calls."""
    of = {}
    for folder in (ROOT / f for f in FOLDERS):
        for lists in folder.rglob("CMakeLists.txt"):
            text = re.sub(r"#.*", "", lists.read_text())
            variables = dict(re.findall(r"(?:set|file)\(\s*(?:GLOB\s+)?(\w+)\s+([^)]*)\)", text))
            calls = re.findall(r"(?:r1_library\(\s*|target_sources\(\s*r1_)(\w+)\s+([^)]*)\)", text)
            for name, body in calls:
                words = re.split(r"\b(?:DEPS|LIBS|PRIVATE_LIBS|TORCH)\b", body)[0 if "TORCH" not in body.split("SOURCES")[0] else 1]
                words = re.sub(r"\$\{(\w+)\}", lambda m: variables.get(m.group(1), ""), words)
                for word in words.split():
                    if re.fullmatch(r"[\w.][\w./*?]*\.(cpp|cu)", word):
                        of.update({f.resolve(): name for f in lists.parent.glob(word) if not f.name.endswith("_test.cpp")})
    return of


def includes_of(file, cache):
    """(line, header) of the project's own headers."""
    if file not in cache:
        lines = enumerate(file.read_text(errors="replace").splitlines(), 1)
        found = ((n, re.match(r'\s*#\s*include "([^"]+)"', text)) for n, text in lines)
        cache[file] = [(n, ROOT / m.group(1)) for n, m in found if m and (ROOT / m.group(1)).exists()]
    return cache[file]


def main():
    arguments = [a for a in sys.argv[1:] if a != "--graph"]
    closed, of = allowed(pathlib.Path(arguments[0]) if arguments else ROOT / "docs/architecture.md"), targets_of_sources()
    wrong, edges, cache = set(), {}, {}
    for source, own in sorted(of.items()):
        if own not in closed:
            wrong.add(f"{source.relative_to(ROOT)}: target r1_{own} has no row")
            continue
        left, seen = [source], set()
        while left:
            file = left.pop()
            for line, header in includes_of(file, cache):
                used = of.get(header.with_suffix(".cpp"), of.get(header.with_suffix(".cu")))
                if used is None or used == own:
                    if header not in seen:
                        seen.add(header)
                        left.append(header)
                    continue
                edges.setdefault(own, set()).add(used)
                if used not in closed[own]:
                    wrong.add(f"{file.relative_to(ROOT)}:{line}: r1_{own} includes {header.relative_to(ROOT)} of r1_{used}, which its row does not name")
    if "--graph" in sys.argv:
        print("\n".join(f"{t} -> {', '.join(sorted(edges.get(t, ())))}" for t in closed))
    print("\n".join(sorted(wrong)) if wrong else f"{len(of)} sources of {len(set(of.values()))} targets: every include is in the table")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
