#!/usr/bin/env bash
# Builds the sandbox image of the test cluster, localhost/pause:1, as an archive for `ctr images import`.
# Usage: build.sh FILE
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
file=${1:?usage: build.sh FILE}
case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*)
  echo "pause: no image for $(uname -m)" >&2
  exit 1
  ;;
esac
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cc -static -Os -s -Wall -Wextra -Werror -o "$root/pause" "$here/pause.c"
"$here/../../../deploy/image/pack.py" --root "$root" --output "$file" --reference localhost/pause:1 \
  --architecture "$architecture" --epoch 0 --entrypoint /pause >&2
