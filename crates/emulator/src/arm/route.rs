//! Maps a path to a resource: case-insensitive; extension resources by the last `/providers/`.

use axum::http::Method;

/// The resource or operation that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/subscriptions`
    Subscriptions,
    /// `/tenants`
    Tenants,
    /// `/subscriptions/{s}`
    Subscription,
    /// `/subscriptions/{s}/locations`
    Locations,
    /// `/subscriptions/{s}/providers`
    Providers,
    /// `/subscriptions/{s}/providers/{ns}`
    Provider(String),
    /// `POST .../providers/{ns}/register`
    Register(String),
    /// `POST .../providers/{ns}/unregister`
    Unregister(String),
    /// `/subscriptions/{s}/resourceGroups`
    ResourceGroups,
    /// `/subscriptions/{s}/resourceGroups/{rg}`
    ResourceGroup(String),
    /// A collection or resource of a provider, at some scope.
    Typed(Typed),
    /// No route of ARM.
    Unknown,
}

/// A provider's resource or collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// The namespace as the caller wrote it.
    pub namespace: String,
    /// The type path as the caller wrote it: `type` or `type/child`.
    pub kind: String,
    /// The name of the innermost resource; `None` for a collection.
    pub name: Option<String>,
    /// The scope before the last `/providers/`, with a leading slash.
    pub scope: String,
    /// Number of segments of the scope: 2 is a subscription, 4 a resource group.
    pub depth: usize,
}

impl Typed {
    /// Whether this is the given type.
    pub fn is(&self, namespace: &str, kind: &str) -> bool {
        self.namespace.eq_ignore_ascii_case(namespace) && self.kind.eq_ignore_ascii_case(kind)
    }

    /// Whether this is Resource Graph's query operation.
    pub fn is_query(&self) -> bool {
        self.depth == 0 && self.name.is_none() && self.is("Microsoft.ResourceGraph", "resources")
    }

    /// Whether this is a long-running operation.
    pub fn is_operation(&self) -> bool {
        let kind = self.kind.to_ascii_lowercase();
        self.name.is_some()
            && matches!(
                kind.as_str(),
                "locations/operations" | "locations/operationstatus" | "locations/operationresults"
            )
    }

    /// The resource group in the scope.
    pub fn resource_group(&self) -> Option<&str> {
        let mut parts = self.scope.split('/').filter(|part| !part.is_empty());
        parts.find(|part| part.eq_ignore_ascii_case("resourceGroups"))?;
        parts.next()
    }
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The subscription, in lower case.
    pub subscription: Option<String>,
    /// The resource or operation.
    pub resource: Resource,
}

impl Route {
    /// Parses decoded segments.
    pub fn parse(method: &Method, segments: &[String]) -> Self {
        let text: Vec<&str> = segments.iter().map(String::as_str).collect();
        let subscription = match text.as_slice() {
            [head, id, ..] if head.eq_ignore_ascii_case("subscriptions") => Some(id.to_ascii_lowercase()),
            _ => None,
        };
        Self {
            subscription,
            resource: resource(method, &text),
        }
    }

    /// The action that the caller needs, as role definitions spell it.
    pub fn action(&self, method: &Method) -> String {
        let verb = verb(method);
        match &self.resource {
            Resource::Subscriptions | Resource::Subscription | Resource::Tenants | Resource::Unknown => {
                "Microsoft.Resources/subscriptions/read".into()
            }
            Resource::Locations => "Microsoft.Resources/subscriptions/locations/read".into(),
            Resource::Providers | Resource::Provider(_) => {
                "Microsoft.Resources/subscriptions/providers/read".into()
            }
            Resource::Register(namespace) => format!("{namespace}/register/action"),
            Resource::Unregister(namespace) => format!("{namespace}/unregister/action"),
            Resource::ResourceGroups | Resource::ResourceGroup(_) => {
                format!("Microsoft.Resources/subscriptions/resourceGroups/{verb}")
            }
            Resource::Typed(typed) => format!("{}/{}/{verb}", typed.namespace, typed.kind),
        }
    }

    /// A short name for logs: `PUT pricings/VirtualMachines`.
    pub fn operation(&self, method: &Method) -> String {
        match &self.resource {
            Resource::Subscriptions => format!("{method} subscriptions"),
            Resource::Subscription => format!("{method} subscription"),
            Resource::Tenants => format!("{method} tenants"),
            Resource::Locations => format!("{method} locations"),
            Resource::Providers => format!("{method} providers"),
            Resource::Provider(namespace) => format!("{method} providers/{namespace}"),
            Resource::Register(namespace) => format!("{method} register/{namespace}"),
            Resource::Unregister(namespace) => format!("{method} unregister/{namespace}"),
            Resource::ResourceGroups => format!("{method} resourceGroups"),
            Resource::ResourceGroup(_) => format!("{method} resourceGroup"),
            Resource::Typed(typed) => {
                let place = if typed.depth > 4 { "resource " } else { "" };
                match &typed.name {
                    Some(name) => format!("{method} {place}{}/{name}", typed.kind),
                    None => format!("{method} {place}{}", typed.kind),
                }
            }
            Resource::Unknown => format!("{method} unknown"),
        }
    }
}

/// The last segment of an action.
pub(crate) fn verb(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "read",
        Method::DELETE => "delete",
        Method::POST => "action",
        _ => "write",
    }
}

fn resource(method: &Method, text: &[&str]) -> Resource {
    let is = |index: usize, word: &str| {
        text.get(index)
            .is_some_and(|part| part.eq_ignore_ascii_case(word))
    };
    if let Some(at) = text
        .iter()
        .rposition(|part| part.eq_ignore_ascii_case("providers"))
    {
        let after = text.get(at + 1..).unwrap_or_default();
        let scope = text.get(..at).unwrap_or_default();
        return provider(method, scope, after);
    }
    match text.len() {
        1 if is(0, "subscriptions") => Resource::Subscriptions,
        1 if is(0, "tenants") => Resource::Tenants,
        2 if is(0, "subscriptions") => Resource::Subscription,
        3 if is(0, "subscriptions") && is(2, "locations") => Resource::Locations,
        3 if is(0, "subscriptions") && is(2, "resourceGroups") => Resource::ResourceGroups,
        4 if is(0, "subscriptions") && is(2, "resourceGroups") => {
            Resource::ResourceGroup(text.get(3).copied().unwrap_or_default().into())
        }
        _ => Resource::Unknown,
    }
}

fn provider(method: &Method, scope: &[&str], after: &[&str]) -> Resource {
    let of_subscription = scope.len() == 2;
    match after {
        [] if of_subscription => Resource::Providers,
        [namespace] if of_subscription => Resource::Provider((*namespace).into()),
        [namespace, action] if of_subscription && *method == Method::POST => {
            if action.eq_ignore_ascii_case("register") {
                Resource::Register((*namespace).into())
            } else if action.eq_ignore_ascii_case("unregister") {
                Resource::Unregister((*namespace).into())
            } else {
                Resource::Unknown
            }
        }
        [namespace, rest @ ..] if !rest.is_empty() => Resource::Typed(Typed {
            namespace: (*namespace).into(),
            kind: rest.iter().step_by(2).copied().collect::<Vec<_>>().join("/"),
            name: if rest.len() % 2 == 0 {
                rest.last().map(|name| (*name).into())
            } else {
                None
            },
            scope: format!("/{}", scope.join("/")),
            depth: scope.len(),
        }),
        _ => Resource::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &Method, path: &str) -> Route {
        let segments: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(Into::into)
            .collect();
        Route::parse(method, &segments)
    }

    #[test]
    fn plans_have_paths_below_a_subscription_and_a_machine() {
        let plan = route(
            &Method::PUT,
            "/SUBSCRIPTIONS/AB/Providers/microsoft.security/Pricings/virtualMachines",
        );
        assert_eq!(plan.subscription.as_deref(), Some("ab"));
        assert_eq!(
            plan.action(&Method::PUT).to_ascii_lowercase(),
            "microsoft.security/pricings/write"
        );
        let machine = route(
            &Method::GET,
            "/subscriptions/s/resourcegroups/rg/providers/Microsoft.Compute/virtualMachines/vm/providers/Microsoft.Security/pricings/VirtualMachines",
        );
        let Resource::Typed(typed) = &machine.resource else {
            panic!("not typed")
        };
        assert!(typed.is("Microsoft.Security", "pricings"));
        assert_eq!(typed.depth, 8);
        assert_eq!(typed.resource_group(), Some("rg"));
        assert_eq!(
            machine.operation(&Method::GET),
            "GET resource pricings/VirtualMachines"
        );
    }

    #[test]
    fn registrations_and_lists_have_paths_of_their_own() {
        let register = route(
            &Method::POST,
            "/subscriptions/s/providers/Microsoft.Security/register",
        );
        assert_eq!(
            register.action(&Method::POST),
            "Microsoft.Security/register/action"
        );
        assert_eq!(
            route(&Method::GET, "/subscriptions/s/providers").resource,
            Resource::Providers
        );
        assert_eq!(
            route(&Method::GET, "/subscriptions/s/locations").resource,
            Resource::Locations
        );
        assert_eq!(route(&Method::GET, "/favicon.ico").resource, Resource::Unknown);
    }
}
