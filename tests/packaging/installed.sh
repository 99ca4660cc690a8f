#!/usr/bin/env bash
# Installs what a build folder holds, then configures, builds and runs an example that knows the installed tree alone.
#   installed.sh BUILD_FOLDER CHECKOUT rewards|trainer
set -euo pipefail
build=$(cd "$1" && pwd) root=$(cd "$2" && pwd) which=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake=${CMAKE_COMMAND:-cmake}
"$cmake" --build "$build" --target r1_libraries > "$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }
"$cmake" --install "$build" --prefix "$work/prefix" --component development > "$work/log" 2>&1 || { tail -n 5 "$work/log"; exit 1; }
! grep -rF "$root" "$work/prefix/lib/cmake" | grep -v R1_ARROW_ROOT || { echo "the installed CMake files name the checkout"; exit 1; }
! find "$work/prefix/include" -name '*test*' | grep . || { echo "headers of tests are installed"; exit 1; }

case $which in
  rewards) name=cpp_reward ;;
  trainer) name=own_trainer ;;
esac
cp -r "$root/examples/$name" "$work/project"  # away from the checkout: no header of it can be found by accident
cp "$root/examples/answers.jsonl" "$work"
"$cmake" -S "$work/project" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$work/prefix" > "$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
"$cmake" --build "$work/build" > "$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
case $which in
  rewards)
    "$work/build/cpp_reward" "$work/project/rewards.yaml" "$work/answers.jsonl" | tee "$work/out"
    grep -q '^1\.[0-9]* ok words=' "$work/out"
    ! ldd "$work/build/cpp_reward" | grep -E 'libtorch|libgrpc|libprotobuf' || { echo "r1::rewards drags in what it promises not to need"; exit 1; }
    ;;
  trainer)
    "$work/build/own_trainer" | tee "$work/out"
    grep -q '^step 39' "$work/out"
    ! ldd "$work/build/own_trainer" | grep libtorch || { echo "r1::learn links torch"; exit 1; }
    ;;
esac
echo ok
