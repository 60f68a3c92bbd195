//! Resource ids of connectors. Ids may come from a status, so they are validated.

use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    printable,
    security_connector::desired::Target,
};

use crate::url_path;

/// `/subscriptions/…/resourceGroups/…/providers/Microsoft.Security/securityConnectors/…`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectorId {
    /// Lower case.
    pub(crate) subscription: String,
    pub(crate) resource_group: String,
    pub(crate) name: String,
}

impl ConnectorId {
    /// The id of an object's target.
    pub(crate) fn of(target: &Target) -> Result<Self, AzureError> {
        Self::read(&target.id())
    }

    /// Parses an id. As in Azure, its parts are not case-sensitive. The first slash may be missing.
    pub(crate) fn read(id: &str) -> Result<Self, AzureError> {
        Self::parts(id).ok_or_else(|| AzureError {
            class: ErrorClass::Refused,
            code: "InvalidResourceId".into(),
            message: format!(
                "\"{}\" is not the resource id of a security connector",
                printable::escaped(id)
            ),
            operation: "GET securityConnectors".into(),
            request_id: None,
            effect_unknown: false,
        })
    }

    fn parts(id: &str) -> Option<Self> {
        let parts = url_path::segments(id)?;
        let [
            subscriptions,
            subscription,
            groups,
            group,
            providers,
            provider,
            type_,
            name,
        ] = parts.as_slice()
        else {
            return None;
        };
        let words = [
            (subscriptions, "subscriptions"),
            (groups, "resourceGroups"),
            (providers, "providers"),
            (provider, "Microsoft.Security"),
            (type_, "securityConnectors"),
        ];
        let is_one = words.iter().all(|(found, word)| found.eq_ignore_ascii_case(word));
        is_one.then(|| Self {
            subscription: subscription.to_ascii_lowercase(),
            resource_group: (*group).to_owned(),
            name: (*name).to_owned(),
        })
    }

    /// The id as text.
    pub(crate) fn text(&self) -> String {
        format!("/{}", self.path().join("/"))
    }

    /// The segments of its path.
    pub(crate) fn path(&self) -> [&str; 8] {
        [
            "subscriptions",
            &self.subscription,
            "resourceGroups",
            &self.resource_group,
            "providers",
            "Microsoft.Security",
            "securityConnectors",
            &self.name,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_parsed_in_any_case_and_without_its_first_slash() {
        for id in [
            "/subscriptions/ABC/resourceGroups/Rg (1)/providers/Microsoft.Security/securityConnectors/Aws.Prod",
            "SUBSCRIPTIONS/abc/resourcegroups/Rg (1)/PROVIDERS/microsoft.security/SecurityConnectors/Aws.Prod",
        ] {
            let found = ConnectorId::read(id).unwrap();
            assert_eq!(
                found.text(),
                "/subscriptions/abc/resourceGroups/Rg (1)/providers/Microsoft.Security/securityConnectors/Aws.Prod"
            );
        }
    }

    #[test]
    fn other_ids_are_refused() {
        let id = |group: &str, name: &str| {
            format!(
                "/subscriptions/s/resourceGroups/{group}/providers/Microsoft.Security/securityConnectors/{name}"
            )
        };
        for id in [
            String::new(),
            "/subscriptions/s".into(),
            id("", "n"),
            id("g", ""),
            id("..", "n"),
            id(".", "n"),
            id(".\t.", "n"),
            id("g", "n/devops/default"),
            id("g", "n/"),
            format!("/{}", id("g", "n")),
            id("g", "n").replace("securityConnectors", "pricings"),
            id("g", "n").replace("Microsoft.Security", "Microsoft.Compute"),
        ] {
            let failure = ConnectorId::read(&id).unwrap_err();
            assert_eq!(
                (failure.class, failure.code.as_str()),
                (ErrorClass::Refused, "InvalidResourceId"),
                "{id}"
            );
        }
    }
}
