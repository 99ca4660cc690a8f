#!/usr/bin/env bash
# The documentation builds to HTML without a warning (broken links, missing anchors), and nothing in it is loaded from elsewhere.
#   site.sh CHECKOUT OUT      R1_DOCS_PYTHON: an interpreter with mkdocs-material (default python3); exit 77 without
set -euo pipefail
root=$1 out=$2
python=${R1_DOCS_PYTHON:-python3}
"$python" -c 'import mkdocs, material' 2> /dev/null || { echo "skipped: $python has no mkdocs-material"; exit 77; }
cd "$root"
"$python" -m mkdocs build --strict --quiet --site-dir "$out"
[ -s "$out/site/tutorial.html" ] && [ -s "$out/site/recipe.html" ] && [ -s "$out/index.html" -o -s "$out/site/index.html" ]
# href of a link may lead away; what a page loads may not.
! grep -rhoE '<(script|img|iframe)[^>]* src="?https?://[^" >]*|<link[^>]*rel="?(stylesheet|preload|icon)"?[^>]*href="?https?://[^" >]*' "$out" --include=*.html | sort -u | grep . ||
  { echo "a page loads something from elsewhere"; exit 1; }
echo "$(find "$out" -name '*.html' | wc -l) pages, $(du -sh "$out" | cut -f1)"
