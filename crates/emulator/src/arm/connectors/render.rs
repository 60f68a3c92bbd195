//! A connector as the service returns it, and as a row of Resource Graph.

use serde_json::{Map, Value, json};

use super::{
    body::OLDEST,
    offerings::{self, NEW_PLACE},
};
use crate::{
    answer::ArmError,
    arm::Call,
    state::{Cloud, Connector, Subscription, offering_kind},
};

/// What a response depends on besides the connector.
pub(super) struct View<'a> {
    subscription: &'a Subscription,
    version: String,
}

impl<'a> View<'a> {
    pub(super) fn of(call: &'a Call<'_>) -> Result<Self, ArmError> {
        Ok(Self {
            subscription: call.subscription()?,
            version: call.version(),
        })
    }

    /// The resource. The resource group is in lower case; `kind` and `etag` are absent.
    pub(super) fn resource(&self, connector: &Connector) -> Value {
        json!({
            "id": connector.id(&self.subscription.id), "name": connector.name,
            "type": "Microsoft.Security/securityconnectors", "location": connector.location,
            "tags": connector.tags, "systemData": system_data(connector), "properties": self.properties(connector),
        })
    }

    fn properties(&self, connector: &Connector) -> Value {
        let mut properties = connector.properties.clone();
        if let Some(end) = &connector.trial_end {
            properties.insert("hierarchyIdentifierTrialEndDate".into(), json!(end));
        }
        if let Some(data) = properties
            .get_mut("environmentData")
            .and_then(Value::as_object_mut)
        {
            self.add_names(connector, data);
        }
        // Recorded: the offerings of other environments have no description.
        let described = connector.cloud().is_some();
        let list = properties.get_mut("offerings").and_then(Value::as_array_mut);
        for offering in list.into_iter().flatten().filter(|_| described) {
            let text = format!(
                "The offering {} of Microsoft Defender for Cloud",
                offering_kind(offering)
            );
            if let Some(offering) = offering.as_object_mut() {
                offering.insert("description".into(), json!(text));
            }
        }
        if self.version.as_str() < NEW_PLACE {
            offerings::to_old_place(&mut properties);
        }
        if self.version == OLDEST {
            let organization = properties
                .remove("environmentData")
                .and_then(|mut data| data.get_mut("organizationalData").map(Value::take));
            properties.extend(organization.map(|data| ("organizationalData".to_owned(), data)));
            let name = properties.remove("environmentName").unwrap_or_default();
            properties.insert("cloudName".into(), name);
        }
        Value::Object(properties)
    }

    /// The read-only members of the environment data.
    fn add_names(&self, connector: &Connector, data: &mut Map<String, Value>) {
        let (account, clouds) = (connector.account(), &self.subscription.clouds);
        match connector.cloud() {
            Some(Cloud::Aws) => {
                let name = clouds
                    .aws
                    .get(account)
                    .and_then(|found| found.account_name.clone());
                data.insert(
                    "accountName".into(),
                    json!(name.unwrap_or_else(|| format!("aws-{account}"))),
                );
            }
            Some(Cloud::Gcp) => {
                let found = clouds.gcp.get(account);
                let organization =
                    found.and_then(|found| found.organization.as_ref()?.organization_name.clone());
                let name = found.and_then(|found| found.project_name.clone());
                let pool = self.subscription.tenant.replace('-', "");
                if let Some(details) = data.get_mut("projectDetails").and_then(Value::as_object_mut) {
                    details.insert(
                        "projectName".into(),
                        json!(name.unwrap_or_else(|| format!("gcp-{account}"))),
                    );
                    details.insert("workloadIdentityPoolId".into(), json!(pool));
                }
                if let (true, Some(data)) = (
                    connector.is_organization(),
                    data.get_mut("organizationalData").and_then(Value::as_object_mut),
                ) {
                    let name = organization.unwrap_or_else(|| "contoso.example".into());
                    data.insert("organizationName".into(), json!(name));
                }
            }
            None => {}
        }
    }
}

fn system_data(connector: &Connector) -> Value {
    let kind = |who: &str| if who.contains('@') { "User" } else { "Application" };
    let ((by, at), (changed_by, changed_at)) = (&connector.created, &connector.modified);
    json!({
        "createdBy": by, "createdByType": kind(by), "createdAt": at,
        "lastModifiedBy": changed_by, "lastModifiedByType": kind(changed_by), "lastModifiedAt": changed_at,
    })
}

/// Calls back with a row for each connector that exists at `at`, in real time.
pub(crate) fn connector_rows(subscription: &Subscription, at: jiff::Timestamp, each: &mut dyn FnMut(Value)) {
    let view = View {
        subscription,
        version: "2024-08-01-preview".into(),
    };
    for (_, connector) in subscription.connectors_at(subscription.fleet_now(at)) {
        let mut row = view.resource(connector);
        if let Some(row) = row.as_object_mut() {
            row.insert("type".into(), json!("microsoft.security/securityconnectors"));
            row.insert("resourceGroup".into(), json!(connector.group));
            row.insert("kind".into(), json!(""));
        }
        each(row);
    }
}
