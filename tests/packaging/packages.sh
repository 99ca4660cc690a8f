#!/usr/bin/env bash
# The tarball and the Debian package of the program hold what they should, and the program in them runs.
#   packages.sh BUILD_FOLDER WORK_FOLDER
set -euo pipefail
build=$(cd "$1" && pwd) work=$2
rm -rf "$work" && mkdir -p "$work"
"${CMAKE_COMMAND:-cmake}" --build "$build" --target r1 r1_verify_program > "$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }
cpack=$(dirname "$(command -v "${CMAKE_COMMAND:-cmake}")")/cpack
run_cpack() { "$cpack" --config "$build/CPackConfig.cmake" -B "$work" -D CPACK_COMPONENTS_ALL=program "$@" > "$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }; }

run_cpack -G TGZ
tarball=$(ls "$work"/*.tar.gz)
mkdir "$work/t" && tar xzf "$tarball" -C "$work/t" --strip-components=1
for file in bin/r1 bin/r1-verify share/r1/recipes/quickstart.yaml share/man/man1/r1-train.1 share/bash-completion/completions/r1 share/zsh/site-functions/_r1 share/fish/vendor_completions.d/r1.fish; do
  [ -s "$work/t/$file" ] || { echo "the tarball lacks $file"; exit 1; }
done
"$work/t/bin/r1" --version
! ldd "$work/t/bin/r1" | grep 'not found' || { echo "libraries are neither the system's nor in the tarball"; exit 1; }
! readelf -d "$work/t/bin/r1" | grep -E 'R(UN)?PATH' | grep -vE '\[(\$ORIGIN/[^:]*)?\]' || { echo "the program names folders of the building machine"; exit 1; }
[ "$("$work/t/bin/r1" data add --level 2 --n 3 | wc -l)" = 3 ]

if command -v dpkg-deb > /dev/null; then
  run_cpack -G DEB
  deb=$(ls "$work"/*.deb)
  dpkg-deb --field "$deb" Package Version Depends | tee "$work/fields"
  grep -q '^Package: r1$' "$work/fields"
  grep -q 'libyaml-cpp' "$work/fields"  # found by dpkg-shlibdeps
  dpkg-deb -x "$deb" "$work/d"
  "$work/d/usr/bin/r1" --version
  [ -s "$work/d/usr/share/man/man1/r1.1" ]
fi
du -h "$tarball" "${deb:-$tarball}" | sort -u
echo ok
