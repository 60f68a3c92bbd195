# Whether a command that describes something finds it.
found() { "$@" >/dev/null 2>&1; }

# A service account that was just created is not known everywhere at once.
patiently() {
  local try
  for try in 1 2 3 4 5; do
    "$@" >/dev/null && return
    echo "again in $((try * 5)) seconds: $*" >&2
    sleep $((try * 5))
  done
  "$@" >/dev/null
}

pool() {
  found gcloud iam workload-identity-pools describe "$pool" --project="$project" --location=global && return
  gcloud iam workload-identity-pools create "$pool" --project="$project" --location=global --display-name="$pool_name"
}

# provider ID AUDIENCES
provider() {
  local verb=create-oidc
  found gcloud iam workload-identity-pools providers describe "$1" \
    --project="$project" --location=global --workload-identity-pool="$pool" && verb=update-oidc
  gcloud iam workload-identity-pools providers "$verb" "$1" \
    --project="$project" --location=global --workload-identity-pool="$pool" \
    --issuer-uri="$issuer" --allowed-audiences="$2" --attribute-mapping="$mapping"
}

# custom_role ID DESCRIPTION PERMISSIONS: a role that is there keeps what it has, other plans may need it.
custom_role() {
  if found gcloud iam roles describe "$1" "${role_scope[@]}"; then
    gcloud iam roles update "$1" "${role_scope[@]}" --quiet --add-permissions="$3" >/dev/null
  else
    gcloud iam roles create "$1" "${role_scope[@]}" --quiet \
      --title="$1" --description="$2" --permissions="$3" --stage=GA >/dev/null
  fi
}

# service_account ID EMAIL DISPLAY-NAME
service_account() {
  found gcloud iam service-accounts describe "$2" --project="$project" && return
  gcloud iam service-accounts create "$1" --project="$project" --display-name="$3"
}

# grant EMAIL ROLE
grant() {
  patiently gcloud "${binding[@]}" --member="serviceAccount:$1" --role="$2" --condition=None --quiet
}

# lets MEMBER EMAIL ROLE: the member acts as the service account.
lets() {
  patiently gcloud iam service-accounts add-iam-policy-binding "$2" --project="$project" \
    --member="$1" --role="$3" --condition=None --quiet
}

number=$(gcloud projects describe "$project" --format='value(projectNumber)')
if [[ $number != "$project_number" ]]; then
  echo "project $project has the number $number, and the connector says $project_number" >&2
  exit 1
fi
