#!/usr/bin/env bash
# Gets what the build needs: system packages by apt, LibTorch from the `torch` wheel into the project's own folder.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<EOF
usage: scripts/deps.sh [--no-apt]
Installs the system packages that are missing (as root; otherwise prints the line to run) and unpacks LibTorch
$TORCH_VERSION with the two CUDA wheels it links against, and Arrow's library from the \`pyarrow\` wheel, into .deps/ (R1_DEPS_DIR sets
another folder). Run again: seconds.
  --no-apt   do not touch system packages
EOF
  exit 0
fi

packages=(build-essential cmake ninja-build ccache mold git ca-certificates unzip python3 python3-venv
  libflint-arb-dev libcalcium-dev libantic-dev libyaml-cpp-dev nlohmann-json3-dev libre2-dev doctest-dev libcli11-dev libpcre2-dev libicu-dev libflint-dev libseccomp-dev
  zlib1g-dev libzstd-dev libxxhash-dev libcld2-dev
  libgloo-dev libgrpc++-dev libprotobuf-dev protobuf-compiler-grpc libcpp-httplib-dev libssl-dev)

if [ "${1:-}" != --no-apt ]; then
  command -v dpkg-query > /dev/null || die "this is no Debian or Ubuntu; install the equivalents of: ${packages[*]}, then run scripts/deps.sh --no-apt"
  missing=()
  for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2> /dev/null | grep -q 'install ok installed' || missing+=("$p")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
      die "system packages are missing; run: sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
    fi
    say "installing ${#missing[@]} system packages: ${missing[*]}"
    run_logged apt-update apt-get update
    run_logged apt-install env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
  fi
fi

venv=$DEPS/venv
mkdir -p "$DEPS/logs"
if [ ! -x "$venv/bin/pip" ]; then
  say "making $venv"
  mkdir -p "$DEPS"
  run_logged venv python3 -m venv "$venv"
fi
# CMake 3.25 is the oldest that works; older systems take it from PyPI.
if ! cmake --version 2> /dev/null | awk 'NR==1 {split($3, v, "."); exit !(v[1] > 3 || (v[1] == 3 && v[2] >= 25))}'; then
  [ -x "$venv/bin/cmake" ] || { say "cmake is older than 3.25: taking it from PyPI"; run_logged cmake "$venv/bin/pip" install -q cmake; }
fi
stamp=$DEPS/python/.torch-$TORCH_VERSION
if [ ! -e "$stamp" ] || [ ! -e "$DEPS/python/torch/lib/libtorch_cpu.so" ]; then
  free_kb=$(df -Pk "$DEPS" | awk 'NR==2 {print $4}')
  [ "$free_kb" -gt 6000000 ] || die "LibTorch needs 6 GB in $DEPS, only $((free_kb / 1024)) MB are free; set R1_DEPS_DIR to a roomier folder"
  say "getting LibTorch $TORCH_VERSION (about 550 MB)"
  rm -rf "$DEPS/python"
  run_logged torch "$venv/bin/pip" install -q --no-deps --only-binary :all: --target "$DEPS/python" \
    "torch==$TORCH_VERSION" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
  touch "$stamp"
fi
# NCCL, for training on several GPUs; a build with R1_CUDA=ON does without where it cannot be had.
stamp=$DEPS/nccl/.nccl-$NCCL_VERSION
if command -v nvcc > /dev/null && [ ! -e "$stamp" ]; then
  say "getting NCCL $NCCL_VERSION (about 200 MB)"
  rm -rf "$DEPS/nccl"
  if "$venv/bin/pip" install -q --no-deps --only-binary :all: --target "$DEPS/nccl" "nvidia-nccl-cu13==$NCCL_VERSION" > "$DEPS/logs/nccl.log" 2>&1; then
    touch "$stamp"
  else
    say "NCCL could not be had ($DEPS/logs/nccl.log): this build will train on one GPU"
  fi
fi
# Arrow's C++ library, for Parquet; the build does without where it cannot be had.
stamp=$DEPS/arrow/.pyarrow-$ARROW_VERSION
if [ ! -e "$stamp" ]; then
  say "getting Arrow $ARROW_VERSION (about 50 MB)"
  rm -rf "$DEPS/arrow"
  if "$venv/bin/pip" install -q --no-deps --only-binary :all: --target "$DEPS/arrow" "pyarrow==$ARROW_VERSION" > "$DEPS/logs/arrow.log" 2>&1; then
    touch "$stamp"
  else
    say "Arrow could not be had ($DEPS/logs/arrow.log): this build will not read or write Parquet"
  fi
fi
say "dependencies are in place: $DEPS"
