# Sourced by the scripts that build programs for the tests. They define `say`, and the folder `work` for what they build.
# shellcheck shell=bash
: "${work:?}"
building=
trap '[ -z "$building" ] || kill "$building" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Runs a command in a folder, and says every 15 seconds that it goes on. If it fails, prints the end of its output and
# ends the script.
step() { # what folder command…
  local what=$1 folder=$2 began=$SECONDS status=0 next
  shift 2
  say "$what"
  (cd "$folder" && exec "$@") >"$work/log" 2>&1 &
  building=$!
  next=$((SECONDS + 15))
  while kill -0 "$building" 2>/dev/null; do
    sleep 1
    if [ "$SECONDS" -ge "$next" ]; then
      say "still $what, $((SECONDS - began)) s so far"
      next=$((SECONDS + 15))
    fi
  done
  wait "$building" || status=$?
  building=
  [ "$status" -eq 0 ] || {
    tail -n 30 "$work/log" >&2
    say "failed while $what"
    exit "$status"
  }
}
