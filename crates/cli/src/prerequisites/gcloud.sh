# exists COMMAND...: whether a describe command finds its resource.
exists() { "$@" >/dev/null 2>&1; }

# create KIND ID COMMAND...: says what can be the cause if the command fails.
create() {
  local kind=$1 id=$2
  shift 2
  "$@" && return
  echo "cannot create or update the $kind $id, see above. If it was deleted before, Google keeps its ID for some weeks:" >&2
  echo "restore it (gcloud iam ... undelete, or a request to Google's support), or wait." >&2
  return 1
}

# retry COMMAND...: retries, because a new service account is not visible everywhere immediately.
retry() {
  local try
  for try in 1 2 3 4 5; do
    "$@" >/dev/null && return
    echo "failed, retrying in $((try * 5)) seconds: $*" >&2
    sleep $((try * 5))
  done
  "$@" >/dev/null
}

# state COMMAND...: the state that a describe command prints, or nothing if its resource does not exist.
state() { "$@" --format='value(state)' 2>/dev/null || true; }

# A deleted pool or provider exists for 30 more days, and its ID cannot be used for another one: restore it.
pool() {
  case $(state gcloud iam workload-identity-pools describe "$pool" --project="$project" --location=global) in
    '')
      create 'workload identity pool' "$pool" \
        gcloud iam workload-identity-pools create "$pool" --project="$project" --location=global \
        --display-name="$pool_name"
      ;;
    DELETED)
      echo "restoring the deleted workload identity pool $pool" >&2
      gcloud iam workload-identity-pools undelete "$pool" --project="$project" --location=global
      ;;
  esac
}

# provider ID AUDIENCES
provider() {
  local verb=update-oidc
  local place=("--project=$project" --location=global "--workload-identity-pool=$pool")
  case $(state gcloud iam workload-identity-pools providers describe "$1" "${place[@]}") in
    '') verb=create-oidc ;;
    DELETED)
      echo "restoring the deleted provider $1" >&2
      gcloud iam workload-identity-pools providers undelete "$1" "${place[@]}"
      ;;
  esac
  create provider "$1" gcloud iam workload-identity-pools providers "$verb" "$1" "${place[@]}" \
    --issuer-uri="$issuer" --allowed-audiences="$2" --attribute-mapping="$mapping"
}

# custom_role ID DESCRIPTION PERMISSIONS: an existing role keeps its permissions, because other plans may need them. A
# deleted role can be restored for 7 days; after that its ID cannot be used for another role for some weeks.
custom_role() {
  if exists gcloud iam roles describe "$1" "${role_scope[@]}"; then
    if [[ $(gcloud iam roles describe "$1" "${role_scope[@]}" --format='value(deleted)') == [Tt]rue ]]; then
      echo "restoring the deleted role $1" >&2
      gcloud iam roles undelete "$1" "${role_scope[@]}" --quiet >/dev/null
    fi
    gcloud iam roles update "$1" "${role_scope[@]}" --quiet --add-permissions="$3" >/dev/null
  else
    create role "$1" gcloud iam roles create "$1" "${role_scope[@]}" --quiet \
      --title="$1" --description="$2" --permissions="$3" --stage=GA >/dev/null
  fi
}

# service_account ID EMAIL DISPLAY-NAME
service_account() {
  exists gcloud iam service-accounts describe "$2" --project="$project" && return
  gcloud iam service-accounts create "$1" --project="$project" --display-name="$3"
}

# grant EMAIL ROLE
grant() {
  retry gcloud "${binding[@]}" --member="serviceAccount:$1" --role="$2" --condition=None --quiet
}

# allow_acting_as MEMBER EMAIL ROLE: lets the member act as the service account.
allow_acting_as() {
  retry gcloud iam service-accounts add-iam-policy-binding "$2" --project="$project" \
    --member="$1" --role="$3" --condition=None --quiet
}

number=$(gcloud projects describe "$project" --format='value(projectNumber)')
if [[ $number != "$project_number" ]]; then
  echo "project $project has the number $number, but the connector has $project_number: correct gcp.projectNumber" >&2
  exit 1
fi
