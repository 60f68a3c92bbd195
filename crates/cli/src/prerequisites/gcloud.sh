# exists COMMAND...: whether a describe command finds its resource.
exists() { "$@" >/dev/null 2>&1; }

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

pool() {
  exists gcloud iam workload-identity-pools describe "$pool" --project="$project" --location=global && return
  gcloud iam workload-identity-pools create "$pool" --project="$project" --location=global --display-name="$pool_name"
}

# provider ID AUDIENCES
provider() {
  local verb=create-oidc
  exists gcloud iam workload-identity-pools providers describe "$1" \
    --project="$project" --location=global --workload-identity-pool="$pool" && verb=update-oidc
  gcloud iam workload-identity-pools providers "$verb" "$1" \
    --project="$project" --location=global --workload-identity-pool="$pool" \
    --issuer-uri="$issuer" --allowed-audiences="$2" --attribute-mapping="$mapping"
}

# custom_role ID DESCRIPTION PERMISSIONS: an existing role keeps its permissions, because other plans may need them.
custom_role() {
  if exists gcloud iam roles describe "$1" "${role_scope[@]}"; then
    gcloud iam roles update "$1" "${role_scope[@]}" --quiet --add-permissions="$3" >/dev/null
  else
    gcloud iam roles create "$1" "${role_scope[@]}" --quiet \
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
