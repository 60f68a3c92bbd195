#!/usr/bin/env bash
# Runs Microsoft's own clients against a fresh emulator: the Azure CLI and the Python SDKs.
# They check that the emulator behaves like Azure, independently of the operator's own client.
#
# The first run downloads about 750 MB into the user's cache; nothing is written to this repository.
# Set AZURE_EMULATOR if the binary is not in target/debug.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
emulator=${AZURE_EMULATOR:-${CARGO_TARGET_DIR:-$root/target}/debug/azure-emulator}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serverprotection/clients

[[ -x $emulator ]] || { echo "run.sh: $emulator is missing; run make build" >&2; exit 2; }
command -v python3 >/dev/null || { echo "run.sh: python3 is missing" >&2; exit 2; }

# One environment for each set of pinned versions: changing a version creates a new one.
environment() {
  local requirements=$here/requirements-$1.txt venv
  venv=$cache/$1-$(sha256sum "$requirements" | cut -c1-12)
  if [[ ! -e $venv/complete ]]; then
    echo "installing $1 into $venv (once, about a minute)" >&2
    rm -rf "$venv"
    mkdir -p "$cache"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
    touch "$venv/complete"
  fi
  echo "$venv/bin"
}
cli=$(environment cli)
sdk=$(environment sdk)

work=$(mktemp -d)
"$emulator" serve --listen 127.0.0.1:0 --certificates "$work/certificates" --seed "$here/seed.yaml" \
  >"$work/ready" 2>"$work/emulator.log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do
  [[ -s $work/ready ]] && break
  kill -0 "$server" 2>/dev/null || { cat "$work/emulator.log" >&2; exit 2; }
  sleep 0.1
done
read -r _ _ address _ ca <"$work/ready"
# Some clients reject IP addresses in certificates, so use the host name.
endpoint=https://localhost:${address##*:}

export ENDPOINT=$endpoint CA=$ca AZURE_EMULATOR=$emulator
export AZURE_CONFIG_DIR=$work/az REQUESTS_CA_BUNDLE=$ca
failed=0
echo "== Azure CLI"
PATH=$cli:$PATH bash "$here/cli.sh" || failed=1
echo "== Python SDKs"
"$sdk/python" "$here/sdk.py" || failed=1
((failed == 0)) || { echo "-- emulator"; tail -20 "$work/emulator.log"; } >&2
exit "$failed"
