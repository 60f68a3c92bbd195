#!/usr/bin/env bash
# Provides the version that the upgrade cases begin with: the image and the chart of the commit in the file
# previous-version. Prints a folder with image.tar and chart/ as the last line of stdout; everything else goes to stderr.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf 'previous version: %s\n' "$*" >&2; }
commit=$(sed -nE 's/^([0-9a-f]{40})$/\1/p' "$here/previous-version")
cache=${XDG_CACHE_HOME:-${HOME:?neither XDG_CACHE_HOME nor HOME is set: set one of them, the image is stored there}/.cache}/serverprotection/previous
folder=$cache/$commit
if [ -f "$folder/image.tar" ]; then
  printf '%s\n' "$folder"
  exit
fi
git -C "$here" cat-file -e "$commit^{commit}" 2>/dev/null || {
  say "commit $commit is not in this clone: git fetch --unshallow --tags"
  exit 1
}
# The source stays after an interruption, so that cargo goes on where it was.
source=$cache/source-$commit
mkdir -p "$source"
exec 9>"$source.lock"
flock -n 9 || {
  say "waiting for another build"
  flock 9
}
if [ ! -f "$folder/image.tar" ]; then
  say "building the image of $commit. Takes about 15 minutes on 2 cores, once; stored in $folder"
  git -C "$here/../.." archive "$commit" | tar -x -C "$source"
  began=$SECONDS
  (
    cd "$source"
    # The archive is no git repository.
    SERVERPROTECTION_COMMIT=$commit SOURCE_DATE_EPOCH=$(git -C "$here" show -s --format=%ct "$commit") \
      env -u MAKEFLAGS -u CARGO_TARGET_DIR make image
  ) >&2
  mkdir -p "$folder"
  cp -r "$source/charts/serverprotection-operator" "$folder/chart"
  mv "$source/target/image/serverprotection.oci.tar" "$folder/image.tar" # complete when this file is there
  rm -rf "$source"
  say "built in $((SECONDS - began)) s"
fi
printf '%s\n' "$folder"
