#!/usr/bin/env bash
# The programs of a real Kubernetes control plane: kube-apiserver, etcd, kubectl.
# Prints the folder that holds them as the last line of stdout; everything else goes to stderr.
#   build.sh            use KUBEBUILDER_ASSETS or PATH where they hold the right programs, else the cache, else build
#   build.sh --cached   never build: fails when nothing is there (what the test library asks)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kubernetes=v1.36.3 # the stamp; the code is what go.mod pins
oldest_minor=33    # the oldest server that has everything the CRDs and policies use
say() { printf '%s\n' "$*" >&2; }

# The server decides: an older kubectl in front of it is fine, an older server is not.
suitable() { # kube-apiserver etcd kubectl
  local version minor
  [ -x "$1" ] && [ -x "$2" ] && [ -x "$3" ] || return 1
  version=$("$1" --version 2>/dev/null) || return 1
  minor=$(sed -nE 's/^Kubernetes v1\.([0-9]+)\..*/\1/p' <<<"$version")
  [ -n "$minor" ] && [ "$minor" -ge "$oldest_minor" ]
}
folder_suitable() { suitable "$1/kube-apiserver" "$1/etcd" "$1/kubectl"; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  if folder_suitable "$KUBEBUILDER_ASSETS"; then
    say "control plane: KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS"
    (cd "$KUBEBUILDER_ASSETS" && pwd)
    exit
  fi
  say "control plane: KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no kube-apiserver >= 1.$oldest_minor with etcd and kubectl beside it: not used"
fi
if server=$(command -v kube-apiserver) && folder_suitable "$(dirname "$server")"; then
  say "control plane: $(dirname "$server") (from PATH)"
  dirname "$server"
  exit
fi

cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: set one, the built programs are kept there}/.cache}/serverprotection/control-plane

# kube-apiserver 1.36 built with Go 1.27 serves a broken /openapi/v2: another Go fetches the right one for this build.
case $(cd "$here" && go env GOVERSION 2>/dev/null || true) in
"" | go1.26*) ;;
*) export GOTOOLCHAIN=go1.26.8 ;;
esac

# What was built with another Go or other modules is another folder. Without Go, a finished build of these modules still serves.
sums=$(sha256sum <"$here/go.sum" | cut -c1-12)
if go=$(cd "$here" && go env GOVERSION 2>/dev/null); then
  folder=$cache/$sums-$go
else
  folder=
  for found in "$cache/$sums"-*; do
    if folder_suitable "$found"; then folder=$found; fi
  done
fi
if [ -n "$folder" ] && folder_suitable "$folder"; then
  say "control plane: $folder"
  printf '%s\n' "$folder"
  exit
fi
if [ "${1:-}" = --cached ]; then
  say "neither in KUBEBUILDER_ASSETS nor on PATH nor built in $cache"
  exit 3
fi
if [ -z "${go:-}" ]; then
  say "control plane: Go is missing (1.26 or newer; it builds kube-apiserver, etcd and kubectl)."
  say "Install it with:  curl -fsSL https://go.dev/dl/go1.26.8.linux-$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/').tar.gz | sudo tar -C /usr/local -xz && export PATH=\$PATH:/usr/local/go/bin"
  say "or set KUBEBUILDER_ASSETS to a folder with kube-apiserver (>= 1.$oldest_minor), etcd and kubectl."
  exit 1
fi

mkdir -p "$cache"
if command -v flock >/dev/null; then
  exec 9>"$cache/.lock"
  flock -n 9 || {
    say "control plane: another build is running, waiting for it"
    flock 9
  }
fi
if folder_suitable "$folder"; then # the other one built it
  printf '%s\n' "$folder"
  exit
fi

work=$(mktemp -d "$cache/.build.XXXXXX")
building=
trap '[ -z "$building" ] || kill "$building" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$here"
began=$SECONDS
step() { # what command…
  local what=$1 status=0
  shift
  say "control plane: $what"
  "$@" >"$work/log" 2>&1 &
  building=$!
  local next=$((SECONDS + 15))
  while kill -0 "$building" 2>/dev/null; do
    sleep 1
    if [ "$SECONDS" -ge "$next" ]; then
      say "control plane: still $what, $((SECONDS - began)) s so far"
      next=$((SECONDS + 15))
    fi
  done
  wait "$building" || status=$?
  building=
  [ "$status" -eq 0 ] || {
    tail -n 30 "$work/log" >&2
    say "control plane: failed while $what"
    exit "$status"
  }
}
say "control plane: building kube-apiserver $kubernetes, etcd and kubectl with $go. About 4 minutes on 2 cores, once: kept in $folder"
module=k8s.io/component-base/version
minor=${kubernetes#v1.}
stamp="-s -w -X $module.gitVersion=$kubernetes -X $module.gitMajor=1 -X $module.gitMinor=${minor%.*} -X $module.gitTreeState=clean"
mkdir "$work/bin"
# The build cache follows XDG_CACHE_HOME by itself, the module cache only a home folder that can be written.
[ -n "${GOMODCACHE:-}${GOPATH:-}" ] || [ -w "${HOME:-/nonexistent}" ] || export GOMODCACHE=${cache%/*}/go-modules
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
step "downloading the Go modules" go mod download
step "compiling (three programs)" go build -trimpath -ldflags "$stamp" -o "$work/bin/" tool
mv "$work/bin/server" "$work/bin/etcd" # the module path ends in /server
folder_suitable "$work/bin" || {
  say "control plane: what was built does not answer --version as expected"
  exit 1
}
rm -rf "$folder"
mv "$work/bin" "$folder" # a rename: a folder of this name is always complete
say "control plane: built in $((SECONDS - began)) s"
printf '%s\n' "$folder"
