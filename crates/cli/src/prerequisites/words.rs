//! Sentences that several formats share.

use serverprotection_api::{Cloud, Tier};
use serverprotection_core::security_connector::prerequisites::{Account, Need, Prerequisites, aws::Aws};

/// The comment at the top of a template.
pub(super) fn head(shown: &str, found: &Prerequisites) -> Vec<String> {
    let mut lines = vec![
        format!(
            "Prerequisites of {} for the SecurityConnector {shown} (plan {}).",
            place(found),
            plan(found.tier)
        ),
        String::new(),
    ];
    lines.extend(AUTHORITY.map(str::to_owned));
    lines.push(
        "For the requirements of machines, encryption keys and organization policies, use --output text."
            .into(),
    );
    let notes = notes(found);
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes);
    }
    lines
}

/// The account, for use in a sentence.
pub(super) fn place(found: &Prerequisites) -> String {
    match &found.account {
        Account::Aws(aws) if aws.organization.is_some() => {
            format!(
                "the AWS organization with the management account {}",
                aws.account_id
            )
        }
        Account::Aws(aws) => format!("the AWS account {}", aws.account_id),
        Account::Gcp(gcp) if gcp.organization => format!(
            "the GCP organization with the management project {} ({})",
            gcp.project_id, gcp.project_number
        ),
        Account::Gcp(gcp) => format!("the GCP project {} ({})", gcp.project_id, gcp.project_number),
    }
}

/// The value of `spec.type`.
pub(super) const fn cloud(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::AWS => "AWS",
        Cloud::GCP => "GCP",
    }
}

/// The value of `spec.plan.tier`.
pub(super) const fn plan(tier: Tier) -> &'static str {
    match tier {
        Tier::P1 => "P1",
        Tier::P2 => "P2",
        Tier::Free => "Free",
    }
}

/// Which source is authoritative.
pub(super) const AUTHORITY: [&str; 4] = [
    "The permissions are the minimum for the documented purposes. Microsoft's own template is authoritative: it may be newer,",
    "and it grants more in some places. To see it, open Microsoft Defender for Cloud in the Azure portal: Environment",
    "settings, the connector, Configure access. If Defender for Cloud lacks access, the health report of the connector",
    "shows it (status.health of the SecurityConnector).",
];

/// What the output includes for safety, and what it omits.
pub(super) fn notes(found: &Prerequisites) -> Vec<String> {
    let parts = found.parts;
    let mut notes = Vec::new();
    for (need, field) in [
        (parts.arc, "autoProvisioning.arcAgent.state"),
        (parts.agentless, "agentlessScanning.state"),
    ] {
        if need == Need::Perhaps {
            notes.push(format!(
                "{field} is Unmanaged: it may be on in Azure, so its prerequisites are included."
            ));
        }
    }
    if parts.servers == Need::No {
        let free =
            "The plan is Free: the account is connected, and Defender for Servers has no prerequisites.";
        notes.push(free.into());
        return notes;
    }
    if parts.arc == Need::No {
        notes.push(
            "Azure Arc: not included, because autoProvisioning.arcAgent.state is Disabled. Machines are protected only if"
                .into(),
        );
        notes.push("  they are connected to Azure Arc in another way.".into());
    }
    if parts.agentless == Need::No {
        let absent =
            "Agentless scanning: not included, because the connector does not enable it (agentlessScanning).";
        notes.push(absent.into());
    }
    notes.push(
        "Defender for Endpoint and vulnerability assessment use Azure Arc and have no other prerequisites here."
            .into(),
    );
    notes
}

/// The commands that add the audiences to an existing identity provider. They are safe to run again.
pub(super) fn add_audiences(aws: &Aws) -> Vec<String> {
    let arn = aws.provider_arn();
    let audiences = aws.audiences.iter();
    audiences
        .map(|audience| {
            format!("aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {arn} --client-id {audience}")
        })
        .collect()
}
