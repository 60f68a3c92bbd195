#!/usr/bin/env bash
# Renders every team and checks the result as the API server would, without a cluster. The workflow of pull requests runs
# it, and you can run it before you commit. It needs kubectl, serverprotection and kubeconform.
#   check.sh [FOLDER]            leaves what it rendered in FOLDER, one file for each team (default: a temporary folder)
#   check.sh --render FOLDER     only renders
# Environment: SCHEMAS, the folder or URL of crds/schemas of the version of the operator (default: schemas).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
only_render=
if [ "${1:-}" = --render ]; then
  only_render=1
  shift
fi
folder=${1:-}
if [ -z "$folder" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi
mkdir -p "$folder"

for team in "$here"/teams/*/; do
  team=$(basename "$team")
  kubectl kustomize "$here/teams/$team" >"$folder/$team.yaml"
done
[ -z "$only_render" ] || exit 0

failed=0
serverprotection validate -f "$folder" || failed=1
# Our kinds only: validate counts the others, and the API server checks them when they are applied.
kubeconform -strict -summary -skip Namespace,ServiceAccount,RoleBinding \
  -schema-location "${SCHEMAS:-$here/schemas}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json" "$folder" || failed=1
exit "$failed"
