#!/usr/bin/env bash
# Builds the OCI image of a program without a container engine and without root (docs/image.md).
# Usage: build.sh serverprotection|azure-emulator [BINARY]
# With BINARY, packs that program instead of building one.
#   SOURCE_DATE_EPOCH, SERVERPROTECTION_COMMIT   time and commit; needed without a git repository
#   IMAGE_REGISTRY                               first part of the image's name
# The image is in target/image: PROGRAM.oci.tar, PROGRAM.cdx.json (bill of materials), PROGRAM.digest.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
repository=$(cd "$here/../.." && pwd -P)
# shellcheck source-path=SCRIPTDIR source=debian.sh
. "$here/debian.sh"
limit=25000000 # bytes, compressed
say() { printf 'image: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

program=${1:-}
binary=${2:-}
case $program in
serverprotection)
  package=serverprotection-cli
  title="Server Protection Operator"
  description="Keeps servers protected by Microsoft Defender for Servers"
  ;;
azure-emulator)
  package=serverprotection-emulator
  title="Azure emulator of the Server Protection Operator"
  description="Emulates the Azure APIs that the operator uses. For tests only"
  ;;
*)
  sed -n '3,7s/^# //p' "$0" >&2
  exit 2
  ;;
esac
case $(uname -sm) in
"Linux x86_64") architecture=amd64 cpu=x86_64 loader=usr/lib64/ld-linux-x86-64.so.2 ;;
"Linux aarch64") architecture=arm64 cpu=aarch64 loader=usr/lib/ld-linux-aarch64.so.1 ;;
*) fail "images are built on Linux on x86_64 or aarch64, not on $(uname -sm)" ;;
esac
target=$cpu-unknown-linux-gnu
libraries=usr/lib/$cpu-linux-gnu

cd "$repository"
top=$(git rev-parse --show-toplevel 2>/dev/null || true)
commit=${SERVERPROTECTION_COMMIT:-}
epoch=${SOURCE_DATE_EPOCH:-}
if [ -n "$top" ] && [ "$(cd "$top" && pwd -P)" = "$repository" ]; then
  if [ -z "$commit" ]; then
    commit=$(git rev-parse HEAD)
    git diff --quiet HEAD || commit=$commit-modified
  fi
  [ -n "$epoch" ] || epoch=$(git log -1 --format=%ct)
fi
if [ -z "$commit" ] || [ -z "$epoch" ]; then
  fail "these sources are not in a git repository of their own: set SERVERPROTECTION_COMMIT and SOURCE_DATE_EPOCH"
fi
version=$(sed -nE 's/^version = "(.*)"/\1/p' Cargo.toml | head -1)

built=${CARGO_TARGET_DIR:-target}
mkdir -p "$built/image"
output=$(cd "$built/image" && pwd -P)
cache=${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME: downloads are stored there}/.cache}
cache=$cache/serverprotection/packages
mkdir -p "$cache"

# Builds the program. Nothing of this machine gets into it: no path, no flag of the caller, no time.
compile() {
  local cargo_home sysroot separator=$'\x1f' flags='' folder
  cargo_home=$(cd "${CARGO_HOME:-$HOME/.cargo}" && pwd -P)
  sysroot=$(rustc --print sysroot)
  # The last one that matches wins: the target folder may be in the repository or elsewhere.
  for folder in "$repository=/src" "$cargo_home=/cargo" "$sysroot=/rust" "$output/cargo=/target"; do
    flags=$flags${flags:+$separator}--remap-path-prefix=$folder
  done
  # With other flags than other builds, so with a target folder of its own.
  env -u RUSTFLAGS -u CFLAGS -u CXXFLAGS -u CARGO_BUILD_TARGET CARGO_INCREMENTAL=0 CARGO_HOME="$cargo_home" \
    CARGO_TARGET_DIR="$output/cargo" CARGO_ENCODED_RUSTFLAGS="$flags" SERVERPROTECTION_COMMIT="$short" \
    SOURCE_DATE_EPOCH="$epoch" cargo build --release --locked --package "$package" --bin "$program" >&2
  binary=$output/cargo/release/$program
}
short=${commit:0:12}
case $commit in *-modified) short=$short-modified ;; esac
[ -n "$binary" ] || compile
[ -f "$binary" ] || fail "$binary does not exist"

# The file of a Debian package, with the pinned sha256. The archive keeps the newest version only; the snapshots of
# Debian keep all.
debian() { # package: prints the path of its file
  local line name sha256 path file archive rest snapshot
  line=$(awk -v package="$1" -v of="$architecture" '$2 == package && ($1 == of || $1 == "all")' "$here/packages.lock")
  [ -n "$line" ] || fail "packages.lock has no $1 for $architecture"
  read -r _ name _ sha256 path <<<"$line"
  file=$cache/$sha256.deb
  if ! sha256sum --check --status <<<"$sha256  $file" 2>/dev/null; then
    archive=${path%%/*}
    rest=${path#*/}
    snapshot=https://snapshot.debian.org/archive/$archive/$(awk '$1 == "snapshot" { print $2 }' "$here/packages.lock")
    say "downloading $name: ${path##*/}"
    { address=$(archive_address "$archive") && download "$address/$rest" "$file.part"; } ||
      download "$snapshot/$rest" "$file.part" || {
      say "${path##*/} is neither in the archive nor in the snapshot: the archive may have a newer version."
      fail "run deploy/image/update-packages.sh, commit packages.lock and build again"
    }
    sha256sum --check --status <<<"$sha256  $file.part" || fail "${path##*/} does not have the sha256 of packages.lock"
    mv "$file.part" "$file"
  fi
  printf '%s\n' "$file"
}
extract() { # package folder path...
  local file folder=$2
  file=$(debian "$1")
  shift 2
  dpkg-deb --fsys-tarfile "$file" | tar -x -C "$folder" --no-same-owner "${@/#/./}"
}

root=$output/$program/root
rm -rf "${root%/root}"
mkdir -p "$root"/{etc/ssl/certs,usr/bin,usr/lib,usr/share/sbom,usr/share/doc/serverprotection,var/lib/dpkg/status.d}
# Only what the programs load: no shell, no tool, no locale.
extract libc6 "$root" "$loader" "$libraries"/{"${loader##*/}",libc.so.6,libm.so.6} usr/share/doc/libc6/copyright
extract libgcc-s1 "$root" "$libraries/libgcc_s.so.1"
extract ca-certificates "$root" usr/share/doc/ca-certificates/copyright
ln -s usr/lib "$root/lib"
[ "$architecture" != amd64 ] || ln -s usr/lib64 "$root/lib64"
# The bundle of update-ca-certificates.
certificates=$(mktemp -d)
trap 'rm -rf "$certificates"' EXIT
extract ca-certificates "$certificates" usr/share/ca-certificates
find "$certificates" -name '*.crt' | sort | xargs cat >"$root/etc/ssl/certs/ca-certificates.crt"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
# Scanners look here for the release of Debian and its packages.
read -r _ suite number < <(grep '^debian ' "$here/packages.lock")
printf 'ID=debian\nVERSION_ID="%s"\nVERSION_CODENAME=%s\nPRETTY_NAME="Debian GNU/Linux %s, without tools"\n' \
  "$number" "$suite" "$number" >"$root/etc/os-release"
for name in libc6 libgcc-s1 ca-certificates; do
  file=$(debian "$name")
  dpkg-deb --field "$file" >"$root/var/lib/dpkg/status.d/$name"
done
cp LICENSE "$root/usr/share/doc/serverprotection/"
install -m 0755 "$binary" "$root/usr/bin/$program"

# A program that was built on a newer system would not start.
readelf --dynamic --wide "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | while read -r library; do
  [ -f "$root/$libraries/$library" ] || fail "$program needs $library, which is not in the image"
done
wanted=$(readelf --version-info --wide "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
provided=$(awk '$2 == "libc6" { sub("-.*", "", $3); print "GLIBC_" $3; exit }' "$here/packages.lock")
[ "$(printf '%s\n' "$wanted" "$provided" | sort -V | tail -1)" = "$provided" ] ||
  fail "$program needs $wanted, the image has $provided: build it on Debian $number or older"

python3 "$here/sbom.py" --package "$package" --target "$target" --architecture "$architecture" --epoch "$epoch" \
  --compiler "$(rustc --version)" --compiler "$(cc --version | head -1)" >"$output/$program.cdx.json"
cp "$output/$program.cdx.json" "$root/usr/share/sbom/"

name=${IMAGE_REGISTRY:-ghcr.io/serverprotection}/$program
label=org.opencontainers.image
python3 "$here/pack.py" --root "$root" --output "$output/$program.oci.tar" --reference "$name:$version" \
  --architecture "$architecture" --epoch "$epoch" --entrypoint "/usr/bin/$program" --limit "$limit" \
  --label "$label.title=$title" \
  --label "$label.description=$description" \
  --label "$label.source=https://github.com/serverprotection/serverprotection" \
  --label "$label.version=$version" \
  --label "$label.revision=$commit" \
  --label "$label.licenses=Apache-2.0" | tee "$output/$program.txt"
awk '$1 == "digest" { print $2 }' "$output/$program.txt" >"$output/$program.digest"
rm "$output/$program.txt"
