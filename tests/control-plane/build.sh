#!/usr/bin/env bash
# Provides the programs of a real Kubernetes control plane: kube-apiserver, etcd, kubectl.
# Prints their folder as the last line of stdout; everything else goes to stderr.
#   build.sh            use suitable programs from KUBEBUILDER_ASSETS, PATH or the cache, or else build them
#   build.sh --cached   do not build; fail if there are no suitable programs (used by the test library)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kubernetes=v1.36.3 # the reported version; go.mod pins the code
oldest_minor=33    # the oldest server with all features that the CRDs and policies use
say() { printf 'control plane: %s\n' "$*" >&2; }

# Only the version of the server matters: an older kubectl works, an older server does not.
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
    say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS"
    (cd "$KUBEBUILDER_ASSETS" && pwd)
    exit
  fi
  say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no kube-apiserver >= 1.$oldest_minor with etcd and kubectl next to it: not used"
fi
if server=$(command -v kube-apiserver) && folder_suitable "$(dirname "$server")"; then
  say "$(dirname "$server") (from PATH)"
  dirname "$server"
  exit
fi

cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: set one of them, the programs are stored there}/.cache}/serverprotection/control-plane

# kube-apiserver 1.36 built with Go 1.27 serves a broken /openapi/v2, so other versions of Go download the right one.
case $(cd "$here" && go env GOVERSION 2>/dev/null || true) in
"" | go1.26*) ;;
*) export GOTOOLCHAIN=go1.26.8 ;;
esac

# One folder for each version of Go and the modules. Without Go, use any existing build of these modules.
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
  say "$folder"
  printf '%s\n' "$folder"
  exit
fi
if [ "${1:-}" = --cached ]; then
  say "no suitable programs in KUBEBUILDER_ASSETS, on PATH or in $cache"
  exit 3
fi
if [ -z "${go:-}" ]; then
  say "Go is missing (1.26 or newer; it builds kube-apiserver, etcd and kubectl)."
  say "Install it with:  curl -fsSL https://go.dev/dl/go1.26.8.linux-$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/').tar.gz | sudo tar -C /usr/local -xz && export PATH=\$PATH:/usr/local/go/bin"
  say "or set KUBEBUILDER_ASSETS to a folder with kube-apiserver (>= 1.$oldest_minor), etcd and kubectl."
  exit 1
fi

mkdir -p "$cache"
if command -v flock >/dev/null; then
  exec 9>"$cache/.lock"
  flock -n 9 || {
    say "waiting for another build"
    flock 9
  }
fi
if folder_suitable "$folder"; then # the other process built it
  printf '%s\n' "$folder"
  exit
fi

work=$(mktemp -d "$cache/.build.XXXXXX")
# shellcheck source-path=SCRIPTDIR source=../build-step.sh
. "$here/../build-step.sh"
began=$SECONDS
say "building kube-apiserver $kubernetes, etcd and kubectl with $go. Takes about 4 minutes on 2 cores, once; stored in $folder"
module=k8s.io/component-base/version
minor=${kubernetes#v1.}
stamp="-s -w -X $module.gitVersion=$kubernetes -X $module.gitMajor=1 -X $module.gitMinor=${minor%.*} -X $module.gitTreeState=clean"
mkdir "$work/bin"
# Go puts the build cache into XDG_CACHE_HOME, but the module cache into the home folder, which must be writable.
[ -n "${GOMODCACHE:-}${GOPATH:-}" ] || [ -w "${HOME:-/nonexistent}" ] || export GOMODCACHE=${cache%/*}/go-modules
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
step "downloading the Go modules" "$here" go mod download
step "compiling (three programs)" "$here" go build -trimpath -ldflags "$stamp" -o "$work/bin/" \
  go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl # go.mod has the programs of tests/cluster too
mv "$work/bin/server" "$work/bin/etcd" # the module path ends in /server
folder_suitable "$work/bin" || {
  say "the built programs do not report the expected version"
  exit 1
}
rm -rf "$folder"
mv "$work/bin" "$folder" # a rename: a folder of this name is always complete
say "built in $((SECONDS - began)) s"
printf '%s\n' "$folder"
