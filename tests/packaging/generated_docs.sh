#!/usr/bin/env bash
# The committed pages that the program writes are what it writes now; man pages are valid roff, completions valid shell.
#   generated_docs.sh R1_PROGRAM CHECKOUT      To renew the pages: UPDATE=1 generated_docs.sh ...
set -euo pipefail
r1=$1 root=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
"$r1" docs recipe docs/site/recipe_meanings.yaml > "$work/recipe.md" 2> "$work/notes"
"$r1" docs commands > "$work/commands.md"
if [ -n "${UPDATE:-}" ]; then cp "$work"/{recipe,commands}.md docs/site/; cat "$work/notes"; fi
for page in recipe commands; do
  diff -u "docs/site/$page.md" "$work/$page.md" | head -n 40 > "$work/diff" || true
  [ ! -s "$work/diff" ] || { cat "$work/diff"; echo "docs/site/$page.md is old: UPDATE=1 tests/packaging/generated_docs.sh BUILD/bin/r1 ."; exit 1; }
done
if grep -E 'has a meaning, but no reader|has no meaning written' "$work/notes"; then
  echo "docs/site/recipe_meanings.yaml has a sentence for each key of a recipe, and for no other"
  exit 1
fi

"$r1" docs man "$work/man"
"$r1" docs completions "$work/completions"
[ -f "$work/man/r1.1" ] && [ -f "$work/man/r1-train.1" ] && [ -f "$work/man/r1-bench-rollout.1" ]
if command -v man > /dev/null; then
  for page in "$work"/man/*.1; do
    warnings=$(LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 > /dev/null || true)
    [ -z "$warnings" ] || { echo "$page: $warnings"; exit 1; }
  done
  LC_ALL=C.UTF-8 MANWIDTH=100 man -l "$work/man/r1-train.1" | grep -q -- '--resume'
fi
# bash completes commands, nested commands, options.
complete_with() {
  bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _r1; printf "%s\n" "${COMPREPLY[@]}"' _ "$work/completions/r1.bash" "$@"
}
complete_with r1 tra | grep -qx train
complete_with r1 bench ro | grep -qx rollout
complete_with r1 train --re | grep -qx -- --resume
complete_with r1 train --qu | grep -qx -- --quiet
(cd "$work" && touch some.yaml && complete_with r1 train so | grep -qx some.yaml)
[ "$(complete_with r1 docs '')" = "$(complete_with r1 '')" ]  # a hidden command is a word like any other
! complete_with r1 '' | grep -qx docs
if command -v zsh > /dev/null; then zsh -n "$work/completions/_r1"; fi
if command -v fish > /dev/null; then fish --no-execute "$work/completions/r1.fish"; fi
echo ok
