#!/usr/bin/env bash
# Writes packages.lock with the newest versions of the image's Debian packages, for both architectures.
# Needs apt, Debian's keyring and a mirror (see debian.sh), no root. apt checks the signatures of the archive.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=debian.sh
. "$here/debian.sh"
lock=$here/packages.lock
packages=(libc6:amd64 libc6:arm64 libgcc-s1:amd64 libgcc-s1:arm64 ca-certificates)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
say() { printf 'update-packages: %s\n' "$*" >&2; }
[ -f "$keyring" ] || {
  say "$keyring is missing: install debian-archive-keyring"
  exit 1
}
read -r _ suite number < <(grep '^debian ' "$lock")
if ! main=$(archive_address debian) || ! security=$(archive_address debian-security); then
  say "apt of this machine has no sources of Debian: set DEBIAN_MIRROR"
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
# An apt of its own: neither the release nor the architecture of this machine matters.
cat >"$work/debian.sources" <<SOURCES
Types: deb
URIs: $main
Suites: $suite $suite-updates
Components: main
Signed-By: $keyring

Types: deb
URIs: $security
Suites: $suite-security
Components: main
Signed-By: $keyring
SOURCES
apt=(-o "Dir::Etc::SourceList=$work/debian.sources" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State=$work/state" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
  -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64
  -o APT::Sandbox::User= -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
apt-get "${apt[@]}" --quiet=2 --error-on=any update

# One line for each package. The path says which archive has it: updates for security come from another one.
lines() {
  local package address
  for package in "${packages[@]}"; do
    address=$(cd "$work" && apt-get "${apt[@]}" --print-uris download "$package" | cut -d"'" -f2)
    address=${address/#"$main"/debian}
    address=${address/#"$security"/debian-security}
    address=${address//%2b/+}
    apt-cache "${apt[@]}" show --no-all-versions "$package" | awk -v path="$address" '
      /^Package:/ { package = $2 } /^Version:/ { version = $2 }
      /^Architecture:/ { architecture = $2 } /^SHA256:/ { sum = $2 }
      END { if (!sum) exit 1; print architecture, package, version, sum, path }'
  done
}
lines >"$work/lines"
{
  sed -n '/^#/p' "$lock"
  printf 'debian %s %s\nsnapshot %s\n' "$suite" "$number" "$(date -u +%Y%m%dT%H%M%SZ)"
  cat "$work/lines"
} >"$work/lock"
if diff <(grep -v ^snapshot "$lock") <(grep -v ^snapshot "$work/lock") >&2; then
  say "packages.lock is up to date"
else
  cp "$work/lock" "$lock"
  say "packages.lock is changed: run make image image-test, then commit it"
fi
