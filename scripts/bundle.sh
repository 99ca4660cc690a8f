#!/usr/bin/env bash
# Makes a folder that runs beside an installed torch: programs and the libraries that are neither torch's, CUDA's nor the C library's.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ] || [ $# -lt 2 ]; then
  cat <<EOT
usage: scripts/bundle.sh FOLDER PROGRAM...
Copies the programs, stripped, and their libraries into FOLDER, packs the libraries into FOLDER/lib.tar.xz, and writes
FOLDER/run: FOLDER/run PROGRAM ARGUMENT... starts one with the libraries of the torch that python3 finds.
EOT
  [ $# -ge 2 ] || exit 2
  exit 0
fi
out=$1
shift
mkdir -p "$out/bin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/lib"
for program in "$@"; do
  strip -o "$out/bin/$(basename "$program")" "$program"
  ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// {print $3}'
done | sort -u | grep -Ev '/(libtorch[^/]*|libc10[^/]*|libcu[^/]*|libnv[^/]*|libnccl[^/]*|libshm|libgomp)\.so|/(libc|libm|libdl|librt|libpthread|libutil|ld-linux[^/]*)\.so' |
  while read -r library; do cp -L "$library" "$work/lib/"; done
# A library that the system already has in the same version is taken from the system; what is packed comes after it.
strip --strip-unneeded "$work"/lib/* 2> /dev/null || true
tar -C "$work" -cJf "$out/lib.tar.xz" lib
cat > "$out/run" <<'EOT'
#!/usr/bin/env bash
# run PROGRAM ARGUMENT...: starts a program of this folder beside the torch that python3 (or R1_TORCH) holds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ -d "$here/lib" ] || tar -C "$here" -xJf "$here/lib.tar.xz"
torch=${R1_TORCH:-$(python3 -c 'import importlib.util, os; print(os.path.dirname(importlib.util.find_spec("torch").origin))')}
site=$(dirname "$torch")
export LD_LIBRARY_PATH=$torch/lib:$(echo "$site"/nvidia/*/lib | tr ' ' ':'):$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
program=$1
shift
exec "$here/bin/$program" "$@"
EOT
chmod +x "$out/run"
say "bundle: $out ($(du -sh "$out" | cut -f1))"
