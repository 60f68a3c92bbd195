#!/usr/bin/env bash
# Checks the images in target/image (make image image-emulator): their files, configuration, bill of materials, and
# that the Dockerfile gives the same image. Needs buildah and, because of it, root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME: tools are stored there}/.cache}/serverprotection/image

# One environment for each set of pinned versions: changing a version creates a new one.
venv=$cache/venv-$(sha256sum "$here/requirements.txt" | cut -c1-12)
if [ ! -e "$venv/complete" ]; then
  echo "image: installing the validator of CycloneDX into $venv, once" >&2
  rm -rf "$venv"
  mkdir -p "$cache"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
  touch "$venv/complete"
fi
images=${CARGO_TARGET_DIR:-$root/target}/image
for program in serverprotection azure-emulator; do
  [ -f "$images/$program.oci.tar" ] || {
    echo "image: $images/$program.oci.tar does not exist: run make image image-emulator" >&2
    exit 1
  }
done
exec "$venv/bin/python" "$here/check.py" "$root" "$images"
