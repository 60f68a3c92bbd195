#!/usr/bin/env bash
# Builds the image of this commit again, in another folder, with another Cargo home, umask, language and time zone, and
# fails if the digest differs from that of `make image`. Takes as long as a release build without any cache.
set -euo pipefail
program=${1:-serverprotection}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
output=${CARGO_TARGET_DIR:-$root/target}/image
say() { printf 'reproducible: %s\n' "$*" >&2; }

cd "$root"
git diff --quiet HEAD || {
  say "there are changes that are not committed: commit them first, the second build has only what is committed"
  exit 1
}
commit=$(git rev-parse HEAD)
grep -qa "$commit" "$output/$program.oci.tar" || {
  say "the image in $output is not of commit $commit: run make image"
  exit 1
}

work=$(mktemp -d "$(cd "$output" && pwd)/reproducible.XXXXXX")
trap 'rm -rf "$work"' EXIT
again=$work/another/folder/with-a-longer-path
mkdir -p "${again%/*}"
git clone --quiet --shared --no-checkout "$root" "$again"
git -C "$again" checkout --quiet --detach "$commit"

# The downloads are shared, the unpacked sources are not: their paths must not get into the program.
home=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$work/cargo-home/registry"
for part in registry/index registry/cache config.toml; do
  [ ! -e "$home/$part" ] || ln -s "$(cd "$(dirname "$home/$part")" && pwd -P)/${part##*/}" "$work/cargo-home/$part"
done

began=$SECONDS
(
  umask 077
  env -u CARGO_TARGET_DIR -u SOURCE_DATE_EPOCH -u SERVERPROTECTION_COMMIT CARGO_HOME="$work/cargo-home" \
    LC_ALL=C.UTF-8 TZ=Asia/Tokyo RUSTFLAGS=-Cdebuginfo=2 CFLAGS=-g "$again/deploy/image/build.sh" "$program" >&2
)
say "built again in $((SECONDS - began)) s"

first=$(cat "$output/$program.digest")
second=$(cat "$again/target/image/$program.digest")
if [ "$first" = "$second" ]; then
  printf '%s twice: %s\n' "$program" "$first"
  exit
fi
say "the digests differ: $first and $second. These files differ:"
diff --recursive --brief "$output/$program/root" "$again/target/image/$program/root" >&2 || true
say "diffoscope says more about two programs: the second one is kept in $output/$program.second"
cp "$again/target/image/$program/root/usr/bin/$program" "$output/$program.second"
exit 1
