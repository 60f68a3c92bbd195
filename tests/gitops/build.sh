#!/usr/bin/env bash
# Provides the programs of Flux and Argo CD, and what they need at run time, for tests/src/bin/gitops. Prints one folder
# for each program, in the order of the arguments, as the last lines of stdout; everything else goes to stderr.
#   build.sh [PROGRAM…]            use the programs of the cache, or else build them; default: all
#   build.sh --cached [PROGRAM…]   do not build; fail if one is not there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf 'gitops: %s\n' "$*" >&2; }

all=(source-controller kustomize-controller argocd kustomize kube-controller-manager)
# Sets the folder of the program's go.mod, its package, and the minor version of Go 1 that the module needs.
describe() { # program
  minor=26
  case $1 in
  source-controller | kustomize-controller) module=$here/$1 package=github.com/fluxcd/$1 ;;
  argocd) module=$here/argocd package=github.com/argoproj/argo-cd/v3/cmd minor=27 ;;
  # The repo-server of Argo CD calls it.
  kustomize) module=$here/argocd package=sigs.k8s.io/kustomize/kustomize/v5 minor=27 ;;
  # For its garbage collector: Argo CD deletes in the foreground.
  kube-controller-manager) module=$here/../control-plane package=k8s.io/kubernetes/cmd/$1 ;;
  *)
    say "unknown program $1; there are: ${all[*]}"
    exit 2
    ;;
  esac
}
# Copies what the program needs at run time from the sources of its module. Files of the module cache are read-only.
files() { # program, folder
  local source
  case $1 in
  source-controller | kustomize-controller)
    source=$(go list -m -f '{{.Dir}}' "$package")
    install -D -m 644 -t "$2/crds" "$source"/config/crd/bases/*.yaml
    ;;
  argocd)
    source=$(go list -m -f '{{.Dir}}' "${package%/cmd}")
    install -D -m 644 -t "$2/crds" "$source"/manifests/crds/{application,applicationset,appproject}-crd.yaml
    # The repo-server calls them.
    install -D -m 755 -t "$2/path" "$source"/hack/{git-verify,gpg}-wrapper.sh
    ;;
  esac
}

cached=
if [ "${1:-}" = --cached ]; then
  cached=1
  shift
fi
[ $# -gt 0 ] || set -- "${all[@]}"
cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: set one of them, the programs are stored there}/.cache}/serverprotection/gitops

# One folder for each program and version of its modules.
folder_of() { # program
  describe "$1"
  printf '%s/%s-%s\n' "$cache" "$1" "$(cat "$module/go.mod" "$module/go.sum" | sha256sum | cut -c1-12)"
}
missing=()
for program in "$@"; do
  folder=$(folder_of "$program")
  [ -x "$folder/$program" ] || missing+=("$program")
done
print() {
  for program in "$@"; do folder_of "$program"; done
}
if [ ${#missing[@]} -eq 0 ]; then
  print "$@"
  exit
fi
if [ -n "$cached" ]; then
  say "not in $cache: ${missing[*]}"
  exit 3
fi
command -v go >/dev/null || {
  say "Go is missing, see: tests/control-plane/requirements.sh gitops"
  exit 1
}

mkdir -p "$cache"
work=$(mktemp -d "$cache/.build.XXXXXX")
# shellcheck source-path=SCRIPTDIR source=../build-step.sh
. "$here/../build-step.sh"
# Go puts the build cache into XDG_CACHE_HOME, but the module cache into the home folder, which must be writable.
[ -n "${GOMODCACHE:-}${GOPATH:-}" ] || [ -w "${HOME:-/nonexistent}" ] || export GOMODCACHE=${cache%/*}/go-modules
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
toolchain=$(cd / && go env GOTOOLCHAIN)
installed=$(cd / && go env GOVERSION | sed -nE 's/^go1\.([0-9]+).*/\1/p')
build() { # program
  local began=$SECONDS folder
  describe "$1"
  folder=$(folder_of "$1")
  exec 9>"$cache/.lock-$1"
  flock -n 9 || {
    say "waiting for another build of $1"
    flock 9
  }
  [ ! -x "$folder/$1" ] || return 0 # the other process built it
  # An older Go downloads the one that the module needs, like a module.
  export GOTOOLCHAIN=$toolchain
  [ "$minor" -le "$installed" ] || GOTOOLCHAIN=go1.$minor.3
  say "$1 takes up to 7 minutes on 2 cores, once; stored in $folder"
  step "building $1" "$module" go build -trimpath -ldflags "-s -w" -o "$work/$1/$1" "$package"
  (cd "$module" && files "$1" "$work/$1")
  rm -rf "$folder"
  mv "$work/$1" "$folder" # a rename: a folder of this name is always complete
  say "built $1 in $((SECONDS - began)) s"
}
for program in "${missing[@]}"; do build "$program"; done
print "$@"
