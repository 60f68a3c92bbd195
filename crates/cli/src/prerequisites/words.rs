//! Sentences that several formats say.

use serverprotection_core::security_connector::prerequisites::{Account, Need, Prerequisites, aws::Aws};

/// What the output is, and what its reader must know: lines for a comment.
pub(super) fn head(shown: &str, found: &Prerequisites) -> Vec<String> {
    let mut lines = vec![
        format!(
            "What {} must have for the SecurityConnector {shown} (plan {:?}).",
            place(found),
            found.tier
        ),
        String::new(),
    ];
    lines.extend(AUTHORITY.map(str::to_owned));
    lines.push(
        "What machines, keys and policies of the organization need beside it is told by --output text."
            .into(),
    );
    let notes = notes(found);
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes);
    }
    lines
}

/// The account in words.
pub(super) fn place(found: &Prerequisites) -> String {
    match &found.account {
        Account::Aws(aws) if aws.organization.is_some() => {
            format!(
                "the AWS organization of the management account {}",
                aws.account_id
            )
        }
        Account::Aws(aws) => format!("the AWS account {}", aws.account_id),
        Account::Gcp(gcp) if gcp.organization => format!(
            "the GCP organization of the management project {} ({})",
            gcp.project_id, gcp.project_number
        ),
        Account::Gcp(gcp) => format!("the GCP project {} ({})", gcp.project_id, gcp.project_number),
    }
}

/// Who knows better.
pub(super) const AUTHORITY: [&str; 4] = [
    "The permissions are the least that the documented purposes need. Microsoft's own template is the authority: it may",
    "have grown since, and it grants more in places. The Azure portal shows it: Microsoft Defender for Cloud, Environment",
    "settings, the connector, Configure access. Where Defender for Cloud cannot get in, the connector's health report says",
    "so (status.health of the SecurityConnector).",
];

/// What is in the output for safety, and what is not in it.
pub(super) fn notes(found: &Prerequisites) -> Vec<String> {
    let parts = found.parts;
    let mut notes = Vec::new();
    for (need, field) in [
        (parts.arc, "autoProvisioning.arcAgent.state"),
        (parts.agentless, "agentlessScanning.state"),
    ] {
        if need == Need::Perhaps {
            notes.push(format!(
                "{field} is Unmanaged: it may be on in Azure, so what it needs is included."
            ));
        }
    }
    if parts.servers == Need::No {
        let free =
            "The plan is Free: the account is connected, and Defender for Servers needs nothing in it.";
        notes.push(free.into());
        return notes;
    }
    if parts.arc == Need::No {
        notes.push("Azure Arc: not included, autoProvisioning.arcAgent.state is Disabled. Machines are protected if they reach".into());
        notes.push("  Azure Arc some other way.".into());
    }
    if parts.agentless == Need::No {
        let absent =
            "Agentless scanning: not included, the connector does not ask for it (agentlessScanning).";
        notes.push(absent.into());
    }
    notes.push(
        "Defender for Endpoint and vulnerability assessment come with Azure Arc and need nothing else here."
            .into(),
    );
    notes
}

/// The commands that add the audiences to an identity provider that is there already. Adding one again changes nothing.
pub(super) fn add_audiences(aws: &Aws) -> Vec<String> {
    let arn = aws.provider_arn();
    let audiences = aws.audiences.iter();
    audiences
        .map(|audience| {
            format!("aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {arn} --client-id {audience}")
        })
        .collect()
}
