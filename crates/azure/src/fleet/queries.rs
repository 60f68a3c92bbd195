//! The queries of a scan, and the one for connectors (docs/azure-api.md 7.4 and 7.5). Columns are the fields of `rows`.

use std::sync::LazyLock;

use serverprotection_core::machines::machine::MDE_PUBLISHER;

/// Every machine, with one row for each of its MDE extensions. Sorted by subscription, so that a subscription is
/// complete when the next one begins. Publisher and type identify the extensions; their names vary.
pub(super) static MACHINES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "resources
| where type in~ ('microsoft.compute/virtualmachines', 'microsoft.hybridcompute/machines')
    or (type =~ 'microsoft.compute/virtualmachinescalesets' and not(tostring(properties.orchestrationMode) =~ 'Flexible'))
| extend machineId = tolower(id), isSet = type =~ 'microsoft.compute/virtualmachinescalesets', isArc = type =~ 'microsoft.hybridcompute/machines'
| project id, machineId, name, type, subscriptionId = tolower(subscriptionId), resourceGroup, location, tags,
    capacity = toint(sku.capacity),
    osType = coalesce(tostring(properties.osType), tostring(properties.storageProfile.osDisk.osType), tostring(properties.virtualMachineProfile.storageProfile.osDisk.osType)),
    osName = iff(isArc, tostring(properties.osName), tostring(properties.extended.instanceView.osName)),
    osSku = tostring(properties.osSku),
    osVersion = iff(isArc, tostring(properties.osVersion), tostring(properties.extended.instanceView.osVersion)),
    imagePublisher = iff(isSet, tostring(properties.virtualMachineProfile.storageProfile.imageReference.publisher), tostring(properties.storageProfile.imageReference.publisher)),
    imageOffer = iff(isSet, tostring(properties.virtualMachineProfile.storageProfile.imageReference.offer), tostring(properties.storageProfile.imageReference.offer)),
    imageSku = iff(isSet, tostring(properties.virtualMachineProfile.storageProfile.imageReference.sku), tostring(properties.storageProfile.imageReference.sku)),
    size = tostring(properties.hardwareProfile.vmSize),
    model = tostring(properties.detectedProperties.model),
    architecture = tostring(properties.detectedProperties.architecture),
    power = tostring(properties.extended.instanceView.powerState.code),
    created = tostring(properties.timeCreated),
    identity = tostring(identity.type),
    status = tostring(properties.status),
    statusReason = tostring(properties.statusReason),
    statusChanged = tostring(properties.lastStatusChange),
    agentVersion = tostring(properties.agentVersion),
    extensionsEnabled = tostring(properties.agentConfiguration.extensionsEnabled),
    allowList = properties.agentConfiguration.extensionsAllowList,
    blockList = properties.agentConfiguration.extensionsBlockList,
    extensionService = tostring(properties.serviceStatuses.extensionService.status),
    provider = tostring(properties.cloudMetadata.provider),
    detectedCloud = tostring(properties.detectedProperties.cloudprovider)
| join kind=leftouter (
    resources
    | where type in~ ('microsoft.compute/virtualmachines/extensions', 'microsoft.hybridcompute/machines/extensions')
    | where tostring(properties.publisher) =~ '{MDE_PUBLISHER}' and tostring(properties.type) in~ ('MDE.Windows', 'MDE.Linux')
    | extend message = tostring(properties.instanceView.status.message)
    | project machineId = tolower(substring(id, 0, indexof(tolower(id), strcat('/extensions/', tolower(name))))),
        extName = name,
        extType = tostring(properties.type),
        extState = tostring(properties.provisioningState),
        extVersion = tostring(properties.typeHandlerVersion),
        extUnified = tostring(properties.settings.vNextEnabled),
        extCode = tostring(properties.instanceView.status.code),
        extLevel = tostring(properties.instanceView.status.level),
        extMessage = iff(strlen(message) > 3072, strcat(substring(message, 0, 1024), ' ... ', substring(message, strlen(message) - 2048)), message),
        extAt = tostring(properties.instanceView.status.time),
        extModified = tostring(systemData.lastModifiedAt)
  ) on machineId
| project-away machineId, machineId1
| order by subscriptionId asc, id asc, extName asc"
    )
});

/// Plans of subscriptions, and own plans of machines. A machine that inherits its plan has a row that says so.
pub(super) const PLANS: &str = "securityresources
| where type =~ 'microsoft.security/pricings' and name in~ ('VirtualMachines', 'CloudPosture')
| project id, name, subscriptionId = tolower(subscriptionId),
    tier = tostring(properties.pricingTier),
    subPlan = tostring(properties.subPlan),
    inherited = tostring(properties.inherited),
    enabledSince = tostring(properties.enablementTime)
| where tier =~ 'Free' or inherited =~ 'False' or not(id contains '/resourcegroups/')
| order by subscriptionId asc, id asc, name asc";

/// Every connector, including those that Azure creates for the members of an organization.
pub(super) const CONNECTORS: &str = "resources
| where type =~ 'microsoft.security/securityconnectors'
| project id,
    environment = tostring(properties.environmentName),
    account = tostring(properties.hierarchyIdentifier),
    membership = tostring(properties.environmentData.organizationalData.organizationMembershipType),
    parent = tostring(properties.environmentData.organizationalData.parentHierarchyId),
    management = tostring(properties.environmentData.organizationalData.managementProjectNumber)
| order by id asc";

/// The management groups above these subscriptions, from the parent to the root. `ids`: quoted, separated by commas.
pub(super) fn ancestors(ids: &str) -> String {
    format!(
        "resourcecontainers
| where type =~ 'microsoft.resources/subscriptions' and subscriptionId in~ ({ids})
| project subscriptionId = tolower(subscriptionId), groups = properties.managementGroupAncestorsChain
| order by subscriptionId asc"
    )
}

/// Operation names, for metrics.
pub(super) const MACHINES_OPERATION: &str = "POST resources (machines)";
pub(super) const PLANS_OPERATION: &str = "POST resources (plans)";
pub(super) const CONNECTORS_OPERATION: &str = "POST resources (connectors)";
pub(super) const ANCESTORS_OPERATION: &str = "POST resources (management groups)";
