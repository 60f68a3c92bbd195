#!/usr/bin/env bash
# Prints the prerequisites of the four types of connectors in every supported format, and checks them with cfn-lint,
# terraform, bash and shellcheck. The gcloud script also runs with a fake gcloud, without any request to a cloud.
#
# Checks whose tool is not available are reported as "skipped"; all others must pass.
# Set SERVERPROTECTION if the binary is not in target/debug.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
samples=$here/prerequisites
program=${SERVERPROTECTION:-${CARGO_TARGET_DIR:-$root/target}/debug/serverprotection}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/serverprotection/clients

[[ -x $program ]] || { echo "prerequisites.sh: $program is missing; run make build" >&2; exit 2; }
command -v python3 >/dev/null || { echo "prerequisites.sh: python3 is missing" >&2; exit 2; }

# One environment for each set of pinned versions: changing a version creates a new one.
requirements=$samples/requirements.txt
venv=$cache/prerequisites-$(sha256sum "$requirements" | cut -c1-12)
if [[ ! -e $venv/complete ]]; then
  echo "installing cfn-lint and shellcheck into $venv (once, about a minute)" >&2
  rm -rf "$venv"
  mkdir -p "$cache"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
  touch "$venv/complete"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0 failed=0

# passes WHAT COMMAND…
passes() {
  local what=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    count=$((count + 1))
    echo "ok: $what"
  else
    failed=$((failed + 1))
    echo "FAILED: $what"
    cat "$work/output"
  fi
}

# refuses WHAT COMMAND…: the command must fail, which proves that the check can fail.
refuses() {
  local what=$1
  shift
  passes "$what is rejected" fails "$@"
}
fails() { ! "$@"; }

# printed SAMPLE FORMAT FLAGS… >FILE
printed() {
  local sample=$1 format=$2
  shift 2
  "$program" prerequisites -f "$samples/protection.yaml" -f "$samples/$sample.yaml" --output "$format" "$@"
}

# The stack set of an organization contains the template of its members.
members() {
  "$venv/bin/python" - "$1" <<'PYTHON'
import sys, yaml
template = yaml.safe_load(open(sys.argv[1]))
sys.stdout.write(template["Resources"]["MemberAccounts"]["Properties"]["TemplateBody"])
PYTHON
}

# terraform_passes NAME FILE
terraform_passes() {
  local name=$1 folder=$work/terraform-$1
  mkdir -p "$folder"
  mv "$2" "$folder/main.tf"
  if ! command -v terraform >/dev/null; then
    echo "skipped: terraform fmt, terraform validate ($name): terraform is not installed"
    return
  fi
  passes "terraform fmt ($name)" terraform fmt -check -diff "$folder"
  # `init` needs the provider registry or a mirror of it.
  if terraform -chdir="$folder" init -backend=false -input=false -no-color >"$work/init" 2>&1; then
    passes "terraform validate ($name)" terraform -chdir="$folder" validate -no-color
  else
    echo "skipped: terraform validate ($name): the provider cannot be installed here: $(grep -m1 -o 'Error: .*' "$work/init" || true)"
  fi
}

# I3042 demands a variable for the partition. It is not needed: Defender for Cloud connects commercial AWS accounts
# (arn:aws:) only.
for sample in aws-account aws-organization; do
  for flags in '' --existing-identity-provider; do
    name=$sample${flags:+, $flags}
    # shellcheck disable=SC2086
    printed "$sample" cloudformation $flags >"$work/template.yaml"
    passes "cfn-lint ($name)" "$venv/bin/cfn-lint" --template "$work/template.yaml" --include-checks I --ignore-checks I3042
    if [[ $sample == aws-organization ]]; then
      members "$work/template.yaml" >"$work/members.yaml"
      passes "cfn-lint (members, $name)" "$venv/bin/cfn-lint" --template "$work/members.yaml" --include-checks I --ignore-checks I3042
    fi
    # shellcheck disable=SC2086
    printed "$sample" terraform $flags >"$work/main.tf"
    terraform_passes "$sample$flags" "$work/main.tf"
  done
done
sed 's/AWS::IAM::Role/AWS::IAM::Rolle/' "$work/template.yaml" >"$work/wrong.yaml"
refuses "a resource that does not exist (cfn-lint)" "$venv/bin/cfn-lint" --template "$work/wrong.yaml"

# A fake gcloud that knows the project and, if EXISTING is set, every other resource. It records all changes.
mkdir -p "$work/bin"
cat >"$work/bin/gcloud" <<'STAND_IN'
#!/usr/bin/env bash
case "$*" in
  "projects describe"*) echo 843025268399 ;;
  "projects get-ancestors"*) printf 'project,my-project\nfolder,77\norganization,4711\n' ;;
  *" describe "*)
    [[ -n ${EXISTING:-} ]] || exit 1
    if [[ $* == *"value(state)" ]]; then echo ACTIVE; fi
    ;;
  *) printf '%s\n' "$*" >>"$CHANGES" ;;
esac
STAND_IN
chmod +x "$work/bin/gcloud"

# changes SCRIPT [EXISTING]: runs the script with the fake gcloud.
changes() {
  : >"$work/changes"
  PATH=$work/bin:$PATH CHANGES=$work/changes EXISTING=${2:-} bash "$1"
}

# wrote PATTERN NUMBER: exactly NUMBER recorded changes match PATTERN.
wrote() {
  local found
  found=$(grep -cE -- "$1" "$work/changes" || true)
  [[ $found == "$2" ]] || { echo "$found, not $2 of: $1"; cat "$work/changes"; return 1; }
}

for sample in gcp-project gcp-organization; do
  script=$work/$sample.sh
  printed "$sample" gcloud >"$script"
  passes "bash -n ($sample)" bash -n "$script"
  passes "shellcheck ($sample)" "$venv/bin/shellcheck" "$script"
  accounts=3 scope='^projects add-iam-policy-binding my-project '
  if [[ $sample == gcp-organization ]]; then
    accounts=4 scope='^organizations add-iam-policy-binding 4711 '
  fi
  passes "the script runs in a new project ($sample)" changes "$script"
  passes "  it creates the service accounts" wrote '^iam service-accounts create ' "$accounts"
  passes "  it creates the providers" wrote '^iam workload-identity-pools providers create-oidc ' $((accounts - 1))
  passes "  it creates the pool" wrote '^iam workload-identity-pools create ' 1
  passes "  it grants roles in the right place" wrote "$scope" $((accounts + 3))
  passes "the script runs again ($sample)" changes "$script" yes
  passes "  it creates nothing twice" wrote ' create' 0
  passes "  it removes no permission" wrote '^iam roles update .* --permissions' 0
  printed "$sample" terraform >"$work/main.tf"
  terraform_passes "$sample" "$work/main.tf"
done
sed 's/^project_number=.*/project_number=1/' "$work/gcp-project.sh" >"$work/wrong.sh"
refuses "a number of another project (gcloud)" changes "$work/wrong.sh"
sed 's/"\$project"/$project/' "$work/gcp-project.sh" >"$work/unquoted.sh"
refuses "a variable without quotes (shellcheck)" "$venv/bin/shellcheck" "$work/unquoted.sh"

for sample in aws-account aws-organization gcp-project gcp-organization; do
  passes "text ($sample)" printed "$sample" text
done
echo "$count passed, $failed failed"
((failed == 0))
