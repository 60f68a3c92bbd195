#!/usr/bin/env bash
# Runs the cases of tests/src/bin/gitops.
#   run.sh [NAME]      all cases, or those whose names contain NAME; --list prints the names
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
say() { printf '\n== %s\n' "$*"; }

say "programs"
cargo build --workspace --bins
program=${CARGO_TARGET_DIR:-target}/debug/gitops
if [ "${1:-}" = --list ]; then exec "$program" --list; fi
tests/control-plane/build.sh >/dev/null
tests/chart/build.sh >/dev/null
tests/gitops/judge/build.sh >/dev/null
tests/gitops/build.sh >/dev/null
say "cases"
exec "$program" "$@"
