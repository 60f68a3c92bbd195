#!/usr/bin/env bash
# Provides helm in the version of go.mod. Prints its folder as the last line of stdout; everything else goes to stderr.
#   build.sh            use the cached program, or else build it
#   build.sh --cached   do not build; fail if there is no program (used by the test library)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf '%s\n' "$*" >&2; }

cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: set one of them, the programs are stored there}/.cache}/serverprotection/helm
version=$(sed -nE 's/.*helm\.sh\/helm\/v4 (v[0-9.]+).*/\1/p' "$here/go.mod")
# One folder for each version of the modules. Any build of them is the same for the tests, whatever the version of Go.
folder=$cache/$version-$(sha256sum <"$here/go.sum" | cut -c1-12)
if [ -x "$folder/helm" ]; then
  printf '%s\n' "$folder"
  exit
fi
if [ "${1:-}" = --cached ]; then
  say "no helm in $folder"
  exit 3
fi
command -v go >/dev/null || {
  say "helm: Go is missing (1.26 or newer; it builds helm)."
  exit 1
}

mkdir -p "$cache"
if command -v flock >/dev/null; then
  exec 9>"$cache/.lock"
  flock -n 9 || {
    say "helm: waiting for another build"
    flock 9
  }
fi
if [ -x "$folder/helm" ]; then # the other process built it
  printf '%s\n' "$folder"
  exit
fi

work=$(mktemp -d "$cache/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
say "helm: building helm $version. Takes about 2 minutes on 2 cores, once; stored in $folder"
# Go puts the build cache into XDG_CACHE_HOME, but the module cache into the home folder, which must be writable.
[ -n "${GOMODCACHE:-}${GOPATH:-}" ] || [ -w "${HOME:-/nonexistent}" ] || export GOMODCACHE=${cache%/*}/go-modules
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
began=$SECONDS
module=helm.sh/helm/v4/internal/version
cd "$here"
go build -trimpath -ldflags "-s -w -X $module.version=$version" -o "$work/bin/" helm.sh/helm/v4/cmd/helm >"$work/log" 2>&1 || {
  tail -n 30 "$work/log" >&2
  say "helm: failed while compiling"
  exit 1
}
rm -rf "$folder"
mv "$work/bin" "$folder" # a rename: a folder of this name is always complete
say "helm: built in $((SECONDS - began)) s"
printf '%s\n' "$folder"
