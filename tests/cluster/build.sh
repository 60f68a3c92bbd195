#!/usr/bin/env bash
# Provides the programs of a Kubernetes node: kubelet, kube-controller-manager, kube-scheduler, kube-proxy, containerd with
# its shim and ctr, and runc. The control plane itself is in tests/control-plane.
# Prints their folder as the last line of stdout; everything else goes to stderr.
#   build.sh            use the programs of the cache, or else build them
#   build.sh --cached   do not build; fail if they are not there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
control_plane=$here/../control-plane
programs=(kubelet kube-controller-manager kube-scheduler kube-proxy containerd containerd-shim-runc-v2 ctr runc)
say() { printf 'node: %s\n' "$*" >&2; }
complete() { # folder
  local program
  for program in "${programs[@]}"; do [ -x "$1/$program" ] || return 1; done
}

cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: set one of them, the programs are stored there}/.cache}/serverprotection/cluster
# The same version of Go as for kube-apiserver.
case $(cd "$control_plane" && go env GOVERSION 2>/dev/null || true) in
"" | go1.26*) ;;
*) export GOTOOLCHAIN=go1.26.8 ;;
esac
sums=$(cat "$control_plane/go.sum" "$here"/*/go.sum | sha256sum | cut -c1-12)
if go=$(cd "$control_plane" && go env GOVERSION 2>/dev/null); then
  folder=$cache/$sums-$go
else
  folder=
  for found in "$cache/$sums"-*; do
    if complete "$found"; then folder=$found; fi
  done
fi
if [ -n "$folder" ] && complete "$folder"; then
  printf '%s\n' "$folder"
  exit
fi
if [ "${1:-}" = --cached ]; then
  say "no programs in $cache"
  exit 3
fi
[ -n "${go:-}" ] || {
  say "Go is missing, see: tests/control-plane/requirements.sh cluster"
  exit 1
}

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock -n 9 || {
  say "waiting for another build"
  flock 9
}
if complete "$folder"; then # the other process built it
  printf '%s\n' "$folder"
  exit
fi
work=$(mktemp -d "$cache/.build.XXXXXX")
# shellcheck source-path=SCRIPTDIR source=../build-step.sh
. "$here/../build-step.sh"
mkdir "$work/bin"

kubernetes=$(sed -nE 's/^\tk8s.io\/kubernetes (v[0-9.]+).*/\1/p' "$control_plane/go.mod")
version=k8s.io/component-base/version
minor=${kubernetes#v1.}
stamp="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%.*} -X $version.gitTreeState=clean"
[ -n "${GOMODCACHE:-}${GOPATH:-}" ] || [ -w "${HOME:-/nonexistent}" ] || export GOMODCACHE=${cache%/*}/go-modules
export GOFLAGS=-mod=readonly GOWORK=off
say "building the programs of a node with $go. Takes about 3 minutes on 2 cores, once; stored in $folder"
static=(env CGO_ENABLED=0 go build -trimpath -o "$work/bin/")
step "building kubelet, kube-controller-manager, kube-scheduler and kube-proxy $kubernetes" "$control_plane" "${static[@]}" -ldflags "$stamp" \
  k8s.io/kubernetes/cmd/{kubelet,kube-controller-manager,kube-scheduler,kube-proxy}
step "building containerd" "$here/containerd" "${static[@]}" -ldflags "-s -w" -tags "no_btrfs no_devmapper no_zfs" tool
step "building runc" "$here/runc" env CGO_ENABLED=1 go build -trimpath -o "$work/bin/" -ldflags "-s -w" -tags seccomp tool
complete "$work/bin" || {
  say "not all programs were built: $(ls "$work/bin")"
  exit 1
}
rm -rf "$folder"
mv "$work/bin" "$folder" # a rename: a folder of this name is always complete
printf '%s\n' "$folder"
