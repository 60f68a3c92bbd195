"""Microsoft's Python SDKs against the emulator. Called by run.sh with ENDPOINT and REQUESTS_CA_BUNDLE set."""

import json
import os
import ssl
import urllib.request

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.mgmt.resource import ResourceManagementClient, SubscriptionClient
from azure.mgmt.security import SecurityCenter
from azure.mgmt.security.models import (
    AzureServersSetting,
    DataExportSettings,
    Extension,
    Pricing,
)

ENDPOINT, CA = os.environ["ENDPOINT"], os.environ["CA"]
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "33333333-3333-3333-3333-333333333333"
SCOPE = f"subscriptions/{SUBSCRIPTION}"
MACHINE = f"{SCOPE}/resourceGroups/rg1/providers/Microsoft.Compute/virtualMachines/vm1"


def credential(secret):
    return ClientSecretCredential(
        TENANT, CLIENT, secret, authority=ENDPOINT, disable_instance_discovery=True, retry_total=0
    )


def control(method, path, body=None):
    """The emulator's control endpoint."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{ENDPOINT}/_emulator/{path}", data=data, method=method)
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=CA)) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def refused(error, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except error as raised:
        return raised
    raise AssertionError(f"{call.__name__} was not refused")


def main():
    try:
        credential("wrong").get_token("https://management.azure.com/.default")
        raise AssertionError("a wrong secret was accepted")
    except ClientAuthenticationError as error:
        assert "AADSTS7000215" in str(error), error
    options = {"base_url": ENDPOINT, "connection_verify": CA}
    signed_in = credential("s3cret")
    security = SecurityCenter(signed_in, SUBSCRIPTION, **options)

    subscriptions = list(SubscriptionClient(signed_in, **options).subscriptions.list())
    assert [found.subscription_id for found in subscriptions] == [SUBSCRIPTION]
    resources = ResourceManagementClient(signed_in, SUBSCRIPTION, **options)
    assert resources.resource_groups.check_existence("rg1")
    assert not resources.resource_groups.check_existence("nowhere")

    # Plans.
    control("PATCH", f"subscriptions/{SUBSCRIPTION}", {"set": {
        "pricings.VirtualMachines.pricingTier": "Free", "serverVulnerabilityAssessmentsSettings.azureServersSetting": None}})
    assert len(security.pricings.list(scope_id=SCOPE).value) == 17
    two = security.pricings.list(scope_id=SCOPE, filter="name in (VirtualMachines,CloudPosture)")
    assert [plan.name for plan in two.value] == ["VirtualMachines", "CloudPosture"]
    wanted = Pricing(
        pricing_tier="Standard",
        sub_plan="P2",
        extensions=[
            Extension(
                name="AgentlessVmScanning",
                is_enabled="True",
                additional_extension_properties={"ExclusionTags": '[{"key":"env","value":"lab"}]'},
            )
        ],
    )
    plan = security.pricings.update(scope_id=SCOPE, pricing_name="VirtualMachines", pricing=wanted)
    assert (plan.pricing_tier, plan.sub_plan, plan.enforce) == ("Standard", "P2", "False")
    scanning = next(one for one in plan.extensions if one.name == "AgentlessVmScanning")
    assert scanning.operation_status.code == "Succeeded"
    plan = security.pricings.get(scope_id=SCOPE, pricing_name="VirtualMachines")
    assert plan.resources_coverage_status == "FullyCovered"
    assert all(one.operation_status is None for one in plan.extensions)

    # A machine of its own, and back.
    own = security.pricings.update(MACHINE, "VirtualMachines", Pricing(pricing_tier="Standard", sub_plan="P1"))
    assert (own.inherited, own.inherited_from, own.sub_plan) == ("False", None, "P1")
    security.pricings.delete(MACHINE, "VirtualMachines")
    security.pricings.delete(MACHINE, "VirtualMachines")
    assert security.pricings.get(MACHINE, "VirtualMachines").inherited == "True"
    error = refused(HttpResponseError, security.pricings.delete, SCOPE, "VirtualMachines")
    assert error.error.code == "InvalidUrlConfiguration", error

    # Settings.
    assert len(list(security.settings.list())) == 5
    assert security.settings.get("WDATP").kind == "DataExportSettings"
    changed = security.settings.update("WDATP", DataExportSettings(enabled=False))
    assert changed.enabled is False

    # Vulnerability assessment.
    assessments = security.server_vulnerability_assessments_settings
    refused(ResourceNotFoundError, assessments.get, "azureServersSetting")
    for _ in ("created", "updated"):
        setting = assessments.create_or_update("azureServersSetting", AzureServersSetting(selected_provider="MdeTvm"))
        assert setting.selected_provider == "MdeTvm"
    assert len(list(assessments.list_by_subscription())) == 1
    assessments.delete("azureServersSetting")
    assessments.delete("azureServersSetting")

    # An unregistered provider: where Azure Resource Manager answers, the SDK registers it by itself and tries again.
    control("PUT", "switches", {"unregisteredProvider": "MissingSubscriptionRegistration"})
    control("PUT", "options", {"registrationTime": "1s"})
    control("PATCH", f"subscriptions/{SUBSCRIPTION}", {"set": {"providers.Microsoft.Security": "NotRegistered"}})
    assert security.pricings.get(SCOPE, "VirtualMachines").pricing_tier == "Standard"
    assert resources.providers.get("Microsoft.Security").registration_state == "Registered"

    # A throttled call: the SDK waits as long as it is told.
    throttle = {"status": 429, "headers": {"Retry-After": "1"}, "body": {"error": {"code": "TooManyRequests", "message": "later"}}}
    control("POST", "faults", {"id": "later", "match": {"method": "GET", "path": "pricings", "times": 2}, "action": {"respond": throttle}})
    assert security.pricings.get(SCOPE, "VirtualMachines").pricing_tier == "Standard"
    assert control("GET", "faults")["faults"][0]["hits"] == 2

    early = [one for one in control("GET", "breaches")["breaches"] if one["invariant"] == "RetryAfterIgnored"]
    assert not early, early
    print("Python SDKs: all calls as expected")


if __name__ == "__main__":
    main()
