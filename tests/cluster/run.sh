#!/usr/bin/env bash
# Runs the cases of tests/src/bin/cluster on a node of its own.
#   run.sh [NAME]      all cases, or those whose names contain NAME; --list prints the names
# Environment: CLUSTER_IMAGE, an archive with the image to test (default: the one of `make image`);
#   CLUSTER_PREVIOUS, a folder with image.tar and chart/ of the previous version (default: the one of previous.sh);
#   CLUSTER_KEEP=1 leaves the node running, to look at it with node.sh exec.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && realpath "${CARGO_TARGET_DIR:-target}")
say() { printf '\n== %s\n' "$*"; }

say "programs"
cargo build --workspace --bins
if [ "${1:-}" = --list ]; then exec "$target/debug/cluster" --list; fi
helm=$(tests/chart/build.sh)
tests/control-plane/build.sh >/dev/null
tests/cluster/build.sh >/dev/null
if [ -z "${CLUSTER_IMAGE:-}" ]; then
  say "image"
  make image
  CLUSTER_IMAGE=$target/image/serverprotection.oci.tar
fi
if [ -z "${CLUSTER_PREVIOUS:-}" ]; then
  say "previous version (cached after the first time)"
  CLUSTER_PREVIOUS=$(tests/cluster/previous.sh)
fi
export CLUSTER_IMAGE CLUSTER_PREVIOUS CLUSTER_LOGS=$target/cluster/log

say "node"
end() {
  [ "${CLUSTER_KEEP:-}" = 1 ] || tests/cluster/node.sh down
  printf '\nThe logs of the node, the pods and the emulator are in %s\n' "$CLUSTER_LOGS"
}
trap end EXIT
trap 'exit 130' INT TERM
owner=$$
[ "${CLUSTER_KEEP:-}" != 1 ] || owner=
NODE_OWNER=$owner tests/cluster/node.sh up
say "cases"
PATH=$helm:$PATH tests/cluster/node.sh exec "$target/debug/cluster" "$@"
