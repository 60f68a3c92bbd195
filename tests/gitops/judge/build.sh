#!/usr/bin/env bash
# Provides the program of this folder, which judges objects as Flux and Argo CD do. Prints its folder as the last line of
# stdout; everything else goes to stderr.
#   build.sh            use the cached program, or else build it
#   build.sh --cached   do not build; fail if there is no program (used by the test library)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf '%s\n' "$*" >&2; }

cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: set one of them, the programs are stored there}/.cache}/serverprotection/gitops-judge
# One folder for each version of the sources and modules.
folder=$cache/$(cd "$here" && cat go.mod go.sum ./*.go | sha256sum | cut -c1-12)
if [ -x "$folder/judge" ]; then
  printf '%s\n' "$folder"
  exit
fi
if [ "${1:-}" = --cached ]; then
  say "no judge in $folder"
  exit 3
fi
command -v go >/dev/null || {
  say "gitops judge: Go is missing (1.26 or newer; it builds the program)."
  exit 1
}
# Argo CD needs Go 1.27. An older one downloads it, like a module.
case $(cd / && go env GOVERSION) in
go1.1* | go1.2[0-6]*) export GOTOOLCHAIN=go1.27.3 ;;
esac

mkdir -p "$cache"
if command -v flock >/dev/null; then
  exec 9>"$cache/.lock"
  flock -n 9 || {
    say "gitops judge: waiting for another build"
    flock 9
  }
fi
if [ -x "$folder/judge" ]; then # the other process built it
  printf '%s\n' "$folder"
  exit
fi

work=$(mktemp -d "$cache/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
say "gitops judge: building it with the code of Flux and Argo CD. Takes about 5 minutes on 2 cores, once; stored in $folder"
# Go puts the build cache into XDG_CACHE_HOME, but the module cache into the home folder, which must be writable.
[ -n "${GOMODCACHE:-}${GOPATH:-}" ] || [ -w "${HOME:-/nonexistent}" ] || export GOMODCACHE=${cache%/*}/go-modules
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
began=$SECONDS
cd "$here"
go build -trimpath -ldflags "-s -w" -o "$work/bin/judge" . >"$work/log" 2>&1 || {
  tail -n 30 "$work/log" >&2
  say "gitops judge: failed while compiling"
  exit 1
}
rm -rf "$folder"
mv "$work/bin" "$folder" # a rename: a folder of this name is always complete
say "gitops judge: built in $((SECONDS - began)) s"
printf '%s\n' "$folder"
