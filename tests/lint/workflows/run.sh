#!/usr/bin/env bash
# Checks the workflows in .github with actionlint (syntax, expressions, scripts with shellcheck) and zizmor (security).
# actionlint is pinned in go.mod, zizmor and shellcheck in requirements.txt; both are cached outside of the repository.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME: tools are stored there}/.cache}/serverprotection/workflows
folder=$cache/$(cat "$here/go.sum" "$here/requirements.txt" | sha256sum | cut -c1-12)

if [ ! -e "$folder/complete" ]; then
  echo "workflows: installing actionlint, zizmor and shellcheck into $folder, once" >&2
  rm -rf "$folder"
  mkdir -p "$cache"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
  (cd "$here" && CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=readonly go build -trimpath -o "$folder/bin/" tool)
  touch "$folder/complete"
fi
cd "$root"
"$folder/bin/actionlint" -shellcheck "$folder/bin/shellcheck" -pyflakes= -color .github/workflows/*.yml
"$folder/bin/zizmor" --offline --quiet .github/workflows
echo "workflows: actionlint and zizmor found nothing"
