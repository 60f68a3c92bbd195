# shellcheck shell=bash
# Sourced by build.sh and update-packages.sh: where Debian's packages come from.
# DEBIAN_MIRROR=URL   a mirror with the folders debian and debian-security

# The address of an archive (debian, debian-security), without "/" at the end; fails if this machine knows none.
archive_address() { # archive
  if [ -n "${DEBIAN_MIRROR:-}" ]; then
    printf '%s/%s\n' "${DEBIAN_MIRROR%/}" "$1"
  elif command -v apt-get >/dev/null; then
    # The mirror that the administrator of this machine configured, whatever its release of Debian.
    # shellcheck disable=SC2016  # apt expands it
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
      sed -n "s,^\(http.*/$1\)/*\$,\1,p" | awk 'NR == 1 { print; found = 1 } END { exit !found }'
  else
    return 1
  fi
}

# Downloads a file with apt, which uses the configured proxy; without apt, with curl.
download() { # address file
  local helper=/usr/lib/apt/apt-helper
  if [ -x "$helper" ]; then
    "$helper" -o APT::Sandbox::User= download-file "$1" "$2" >&2
  else
    curl --fail --silent --show-error --location --output "$2" "$1"
  fi
}
