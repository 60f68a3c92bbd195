//! The providers, types and api-versions that exist. To add a type, add a line here and a handler.

use serde_json::{Value, json};

/// A resource type with its api-versions, newest first.
#[derive(Debug)]
pub(super) struct Type {
    /// Its name in the service's spelling.
    pub name: &'static str,
    /// Newest first, because clients pick the first.
    pub versions: &'static [&'static str],
}

/// A resource provider.
#[derive(Debug)]
pub(super) struct Provider {
    /// Its namespace in the service's spelling.
    pub namespace: &'static str,
    /// Usable without registration in a subscription.
    pub free: bool,
    /// Its types.
    pub types: &'static [Type],
}

/// Regions that responses list.
pub(crate) const LOCATIONS: [(&str, &str); 3] = [
    ("westeurope", "West Europe"),
    ("northeurope", "North Europe"),
    ("eastus", "East US"),
];

const COMPUTE: &[&str] = &[
    "2026-04-01",
    "2026-03-01",
    "2025-11-01",
    "2025-04-01",
    "2024-11-01",
    "2024-07-01",
    "2024-03-01",
    "2023-09-01",
    "2023-03-01",
    "2022-11-01",
    "2021-07-01",
];

const HYBRID: &[&str] = &[
    "2026-07-15",
    "2026-06-16-preview",
    "2025-06-01",
    "2025-01-13",
    "2024-11-10-preview",
    "2024-07-31-preview",
    "2024-07-10",
    "2024-05-20-preview",
    "2022-12-27",
    "2022-11-10",
    "2022-03-10",
    "2021-05-20",
];

const PROVIDERS: &[Provider] = &[
    Provider {
        namespace: "Microsoft.Security",
        free: false,
        types: &[
            Type {
                name: "pricings",
                versions: &[
                    "2026-07-01",
                    "2025-10-01-preview",
                    "2024-01-01",
                    "2023-01-01",
                    "2022-03-01",
                    "2018-06-01",
                ],
            },
            Type {
                name: "settings",
                versions: &["2022-05-01", "2021-07-01", "2021-06-01", "2019-01-01"],
            },
            Type {
                name: "serverVulnerabilityAssessmentsSettings",
                versions: &["2023-05-01"],
            },
            Type {
                name: "healthReports",
                versions: &["2023-05-01-preview", "2023-02-01-preview"],
            },
            Type {
                name: "securityConnectors",
                versions: &[
                    "2026-08-01-preview",
                    "2024-08-01-preview",
                    "2024-07-01-preview",
                    "2024-03-01-preview",
                    "2023-10-01-preview",
                    "2023-03-01-preview",
                    "2023-02-01-preview",
                    "2022-08-01-preview",
                    "2021-12-01-preview",
                    "2021-07-01-preview",
                ],
            },
            Type {
                name: "autoProvisioningSettings",
                versions: &["2017-08-01-preview"],
            },
        ],
    },
    Provider {
        namespace: "Microsoft.Authorization",
        free: true,
        types: &[
            Type {
                name: "permissions",
                versions: &["2022-04-01", "2018-07-01", "2015-07-01"],
            },
            Type {
                name: "providerOperations",
                versions: &["2022-04-01", "2018-01-01-preview", "2015-07-01"],
            },
        ],
    },
    Provider {
        namespace: "Microsoft.OperationsManagement",
        free: false,
        types: &[Type {
            name: "solutions",
            versions: &["2015-11-01-preview"],
        }],
    },
    Provider {
        namespace: "Microsoft.OperationalInsights",
        free: false,
        types: &[Type {
            name: "workspaces",
            versions: &[
                "2025-02-01",
                "2023-09-01",
                "2022-10-01",
                "2021-06-01",
                "2020-08-01",
            ],
        }],
    },
    Provider {
        namespace: "Microsoft.Resources",
        free: true,
        types: &[],
    },
    Provider {
        namespace: "Microsoft.ResourceGraph",
        free: true,
        types: &[Type {
            name: "resources",
            versions: &["2024-04-01", "2022-10-01", "2021-03-01"],
        }],
    },
    Provider {
        namespace: "Microsoft.Management",
        free: true,
        types: &[Type {
            name: "managementGroups/descendants",
            versions: &["2023-04-01", "2021-04-01", "2020-05-01"],
        }],
    },
    Provider {
        namespace: "Microsoft.PolicyInsights",
        free: false,
        types: &[],
    },
    Provider {
        namespace: "Microsoft.Compute",
        free: false,
        types: &[
            Type {
                name: "virtualMachines",
                versions: COMPUTE,
            },
            Type {
                name: "virtualMachines/instanceView",
                versions: COMPUTE,
            },
            Type {
                name: "virtualMachines/extensions",
                versions: COMPUTE,
            },
            Type {
                name: "virtualMachineScaleSets",
                versions: COMPUTE,
            },
            Type {
                name: "locations/operations",
                versions: COMPUTE,
            },
        ],
    },
    Provider {
        namespace: "Microsoft.HybridCompute",
        free: false,
        types: &[
            Type {
                name: "machines",
                versions: HYBRID,
            },
            Type {
                name: "machines/extensions",
                versions: HYBRID,
            },
            Type {
                name: "machines/upgradeExtensions",
                versions: HYBRID,
            },
            Type {
                name: "locations/operationstatus",
                versions: HYBRID,
            },
            Type {
                name: "locations/operationresults",
                versions: HYBRID,
            },
        ],
    },
    Provider {
        namespace: "Microsoft.GuestConfiguration",
        free: false,
        types: &[],
    },
    Provider {
        namespace: "Microsoft.HybridConnectivity",
        free: false,
        types: &[],
    },
];

/// Every provider.
pub(super) fn providers() -> &'static [Provider] {
    PROVIDERS
}

/// The provider with this namespace.
pub(crate) fn provider(namespace: &str) -> Option<&'static Provider> {
    PROVIDERS
        .iter()
        .find(|provider| provider.namespace.eq_ignore_ascii_case(namespace))
}

impl Provider {
    /// One of its types.
    pub(super) fn kind(&self, name: &str) -> Option<&'static Type> {
        self.types
            .iter()
            .find(|kind| kind.name.eq_ignore_ascii_case(name))
    }

    /// The `resourceTypes` member of the provider's description.
    pub(super) fn resource_types(&self) -> Vec<Value> {
        let locations: Vec<_> = LOCATIONS.iter().map(|(_, name)| *name).collect();
        self.types
            .iter()
            .map(|kind| {
                json!({
                    "resourceType": kind.name, "locations": locations, "apiVersions": kind.versions,
                    "defaultApiVersion": kind.versions.first(), "capabilities": "None",
                })
            })
            .collect()
    }
}

/// Whether the text has the form of an api-version: a date with an optional `-word`.
pub(crate) fn well_formed(version: &str) -> bool {
    let (date, rest) = version.split_at_checked(10).unwrap_or((version, "?"));
    date.parse::<jiff::civil::Date>().is_ok()
        && (rest.is_empty()
            || rest.strip_prefix('-').is_some_and(|word| {
                !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphabetic())
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_date() {
        assert!(well_formed("2024-01-01") && well_formed("2015-11-01-preview"));
        assert!(!well_formed("latest") && !well_formed("2024-13-01") && !well_formed("2024-01-01x"));
    }
}
