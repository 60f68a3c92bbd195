#!/usr/bin/env bash
# The Azure CLI: sign-in, plans, settings, assessment, providers. Called by run.sh with ENDPOINT, CA and
# AZURE_CONFIG_DIR set.
set -euo pipefail

subscription=00000000-0000-0000-0000-000000000001
tenant=11111111-1111-1111-1111-111111111111
client=33333333-3333-3333-3333-333333333333
# Otherwise the login library validates the authority at login.microsoftonline.com.
export AZURE_CORE_INSTANCE_DISCOVERY=false AZURE_CORE_COLLECT_TELEMETRY=false
export AZURE_EXTENSION_USE_DYNAMIC_INSTALL=no AZURE_CORE_NO_COLOR=true AZURE_CORE_ONLY_SHOW_ERRORS=true
security=/subscriptions/$subscription/providers/Microsoft.Security
count=0

# expect WANTED QUERY COMMAND…: the output of the command, selected by a JMESPath query, is WANTED.
expect() {
  local wanted=$1 query=$2 got
  shift 2
  got=$(az "$@" --query "$query" --output tsv) || { echo "FAILED: az $*" >&2; exit 1; }
  [[ $got == "$wanted" ]] || { echo "FAILED: az $*: $query is '$got', not '$wanted'" >&2; exit 1; }
  count=$((count + 1))
  echo "ok: az $*"
}

# refused CODE COMMAND…: the command fails with this exit code.
refused() {
  local wanted=$1 got=0
  shift
  az "$@" >/dev/null 2>&1 || got=$?
  [[ $got == "$wanted" ]] || { echo "FAILED: az $*: exit code $got, not $wanted" >&2; exit 1; }
  count=$((count + 1))
  echo "ok: az $* (refused)"
}

az cloud register --name Emulated --endpoint-resource-manager "$ENDPOINT" --output none
az cloud set --name Emulated --output none
refused 1 login --service-principal --username "$client" --password wrong --tenant "$tenant"
expect "$subscription" '[0].id' \
  login --service-principal --username "$client" --password s3cret --tenant "$tenant"
expect "Contoso Production" name account show
expect westeurope '[0].name' account list-locations
expect Registered registrationState provider show --namespace Microsoft.Security

expect 17 'length(value)' security pricing list
expect Free pricingTier security pricing show --name VirtualMachines
expect Standard pricingTier security pricing create --name VirtualMachines --tier standard --subplan P2 \
  --extensions name=AgentlessVmScanning isEnabled=True 'additionalExtensionProperties={"ExclusionTags":"[]"}'
expect P2 subPlan security pricing show --name VirtualMachines
expect True "extensions[?name=='AgentlessVmScanning'].isEnabled | [0]" security pricing show --name VirtualMachines
refused 1 security pricing create --name VirtualMachines --tier standard --subplan P1 \
  --extensions name=AgentlessVmScanning isEnabled=False
expect P1 subPlan security pricing create --name VirtualMachines --tier Standard --subplan P1

expect 5 'length(@)' security setting list
expect true enabled security setting show --name WDATP
expect false enabled security setting update --name WDATP --data-export-settings enabled=false
expect true enabled security setting create --name Sentinel --alert-sync-settings enabled=true

assessment="$security/serverVulnerabilityAssessmentsSettings/azureServersSetting?api-version=2023-05-01"
refused 1 rest --method get --url "$assessment"
expect MdeTvm properties.selectedProvider rest --method put --url "$assessment" \
  --body '{"kind":"AzureServersSetting","properties":{"selectedProvider":"MdeTvm"}}'
expect 1 'length(value)' rest --method get --url "${assessment/\/azureServersSetting/}"
expect '*' 'value[0].actions[0]' rest --method get \
  --url "/subscriptions/$subscription/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"

expect rg1 name group show --name rg1
expect Succeeded properties.provisioningState group create --name rg2 --location westeurope
expect Standard properties.pricingTier resource show --ids "$security/pricings/VirtualMachines"

# Machines, their extensions, and Resource Graph.
expect 2 'length(@)' vm list
expect 'VM running' "instanceView.statuses[?starts_with(code, 'PowerState')].displayStatus | [0]" \
  vm get-instance-view --resource-group rg1 --name vm1
expect Microsoft.Azure.AzureDefenderForServers '[0].publisher' vm extension list --resource-group rg1 --vm-name vm1
expect Failed provisioningState vm extension show --resource-group rg1 --vm-name vm2 --name MDE.Windows
expect Succeeded provisioningState vm extension set --resource-group rg1 --vm-name vm1 --name MDE.Linux \
  --publisher Microsoft.Azure.AzureDefenderForServers --version 1.0 --settings '{"vNextEnabled":true}' \
  --protected-settings '{"defenderForEndpointOnboardingScript":"x"}'
expect 3 totalRecords rest --method post --url "/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01" \
  --body "{\"subscriptions\":[\"$subscription\"],\"query\":\"resources | where type in~ ('microsoft.compute/virtualmachines','microsoft.hybridcompute/machines') | project id, name | order by id asc\"}"
refused 1 rest --method post --url "/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01" \
  --body '{"query":"resources | frobnicate"}'

# The serverprotection command, with the login of the Azure CLI.
code=0
listed=$("$(dirname "$AZURE_EMULATOR")/serverprotection" machines --auth azure-cli --subscription "$subscription" -o csv --quiet \
  --resource-manager-endpoint "$ENDPOINT" --authority-host "$ENDPOINT" --audience "$ENDPOINT" --extra-ca "$CA") || code=$?
[[ $code == 1 && $(wc -l <<<"$listed") == 4 && $listed == *ERR_NO_INTERNET_CONNECTIVITY* ]] ||
  { echo "FAILED: serverprotection machines --auth azure-cli ended with $code: $listed" >&2; exit 1; }
count=$((count + 1))
echo "ok: serverprotection machines --auth azure-cli"
echo "Azure CLI: $count commands"
