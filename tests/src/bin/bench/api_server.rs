//! The requests that kube-apiserver has served, from its own counts.

use serde::Serialize;
use serverprotection_tests::{Error, control_plane::ControlPlane};
use std::collections::BTreeMap;

/// Our kinds.
const OURS: [&str; 4] = [
    "serverprotections",
    "securityconnectors",
    "azurecredentials",
    "clusterazurecredentials",
];

/// Requests of the controller by verb and resource: `PUT serverprotections/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Served {
    pub(crate) by_operation: BTreeMap<String, u64>,
}

impl Served {
    /// Reads the counts. The page costs the API server as much as hundreds of requests.
    pub(crate) async fn read(plane: &ControlPlane) -> Result<Self, Error> {
        let page = plane.kubectl(&["get", "--raw", "/metrics"]).await?;
        Ok(Self::of_page(&page))
    }

    /// No other client sends requests with these verbs and resources once the objects exist.
    fn of_page(page: &str) -> Self {
        let mut served = Self::default();
        for line in page.lines() {
            let Some((labels, value)) = line
                .strip_prefix("apiserver_request_total{")
                .and_then(|line| line.rsplit_once("} "))
            else {
                continue;
            };
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                Some(rest.split_once('"')?.0)
            };
            let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else {
                continue;
            };
            let expected = match resource {
                "events" => label("group") == Some("events.k8s.io") || verb == "POST",
                "secrets" => verb == "GET",
                ours => OURS.contains(&ours) && ["GET", "PUT", "PATCH", "APPLY"].contains(&verb),
            };
            if expected {
                let part = label("subresource").filter(|part| !part.is_empty());
                let name = part.map_or_else(|| resource.to_owned(), |part| format!("{resource}/{part}"));
                *served.by_operation.entry(format!("{verb} {name}")).or_default() +=
                    value.trim().parse::<u64>().unwrap_or_default();
            }
        }
        served
    }

    /// Status writes of a kind, whatever their verb is.
    pub(crate) fn status_writes(&self, kind: &str) -> u64 {
        let status = format!("{kind}/status");
        self.sum(|verb, resource| verb != "GET" && resource == status)
    }

    /// Events that were created or counted up.
    pub(crate) fn events(&self) -> u64 {
        self.sum(|verb, resource| ["POST", "PUT", "PATCH", "APPLY"].contains(&verb) && resource == "events")
    }

    /// Status writes of all kinds, and events.
    pub(crate) fn writes(&self) -> u64 {
        let status: u64 = OURS.iter().map(|kind| self.status_writes(kind)).sum();
        status + self.events()
    }

    /// Reads of single objects of our kinds.
    pub(crate) fn gets(&self) -> u64 {
        OURS.iter().map(|kind| self.gets_of(kind)).sum()
    }

    /// Reads of single objects of a kind.
    pub(crate) fn gets_of(&self, kind: &str) -> u64 {
        self.sum(|verb, resource| verb == "GET" && resource == kind)
    }

    fn sum(&self, counts: impl Fn(&str, &str) -> bool) -> u64 {
        let all = self.by_operation.iter();
        all.filter(|(operation, _)| {
            let parts = operation.split_once(' ');
            parts.is_some_and(|(verb, resource)| counts(verb, resource))
        })
        .map(|(_, requests)| requests)
        .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(group: &str, resource: &str, subresource: &str, verb: &str, count: u64) -> String {
        format!(
            "apiserver_request_total{{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"{group}\",\
             resource=\"{resource}\",scope=\"resource\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"v1\"}} {count}\n"
        )
    }

    #[test]
    fn requests_are_counted_whatever_their_verb_is() {
        let group = "serverprotection.dev";
        let page = [
            "# TYPE apiserver_request_total counter\n".to_owned(),
            line(group, "serverprotections", "status", "PUT", 7),
            line(group, "serverprotections", "status", "APPLY", 2),
            line(group, "serverprotections", "", "PATCH", 1),
            line(group, "serverprotections", "", "POST", 100),
            line(group, "serverprotections", "", "LIST", 5),
            line(group, "securityconnectors", "", "GET", 3),
            line(group, "azurecredentials", "status", "PUT", 4),
            line("events.k8s.io", "events", "", "POST", 6),
            line("", "events", "", "PATCH", 50),
            line("", "secrets", "", "GET", 1),
        ];
        let served = Served::of_page(&page.concat());
        assert_eq!(served.status_writes("serverprotections"), 9);
        assert_eq!((served.events(), served.gets(), served.writes()), (6, 3, 19));
        assert_eq!(served.by_operation.get("GET secrets"), Some(&1));
        assert!(!served.by_operation.contains_key("POST serverprotections"));
    }
}
