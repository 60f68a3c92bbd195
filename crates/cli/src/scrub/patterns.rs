//! What identifies a customer by its form. The order matters: a token contains what looks like other values.

use regex::Captures;

/// A form of identifying values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern {
    /// Word of the alias.
    pub(super) kind: &'static str,
    pub(super) expression: &'static str,
    pub(super) found: fn(&Captures<'_>) -> Found,
}

/// What to do with a match.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Keep,
    /// A secret gets no alias, because two equal ones must not be recognized: the text in its place.
    Secret(String),
    /// The text before the value, and the value.
    Alias {
        before: String,
        value: String,
    },
}

fn whole(captures: &Captures<'_>) -> Found {
    Found::Alias {
        before: String::new(),
        value: group(captures, 0),
    }
}

/// Group 1 stays, group 2 is the value.
fn after(captures: &Captures<'_>) -> Found {
    Found::Alias {
        before: group(captures, 1),
        value: group(captures, 2),
    }
}

/// Group 1 stays, the rest is secret.
fn secret(captures: &Captures<'_>) -> Found {
    Found::Secret(format!("{}<secret>", group(captures, 1)))
}

/// Names of resources whose names Azure gives stay.
fn resource(captures: &Captures<'_>) -> Found {
    let (before, type_, value) = (group(captures, 1), group(captures, 2), group(captures, 3));
    let is_ours = value.to_lowercase().starts_with("mde.");
    if GIVEN.contains(&type_.to_lowercase().as_str()) || is_ours || value.starts_with('<') {
        return Found::Keep;
    }
    Found::Alias {
        before: format!("{before}{type_}/"),
        value,
    }
}

/// Types of resources with names that Azure gives.
const GIVEN: [&str; 8] = [
    "operations",
    "pricings",
    "providers",
    "resourcegroups",
    "resources",
    "servervulnerabilityassessmentssettings",
    "settings",
    "subscriptions",
];

fn group(captures: &Captures<'_>, number: usize) -> String {
    captures.get(number).map_or("", |group| group.as_str()).to_owned()
}

pub(super) const PATTERNS: [Pattern; 12] = [
    Pattern {
        kind: "secret",
        expression: r"()\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*",
        found: secret,
    },
    Pattern {
        kind: "secret",
        expression: r"(?i)\b(Bearer )[A-Za-z0-9._~+/=-]{8,}",
        found: secret,
    },
    Pattern {
        kind: "secret",
        expression: r#"(?i)((?:secret|password|passwd|pwd|token|signature|assertion|api-?key)["']?\s*[:=]\s*["']?)[^\s"',;&<>]+"#,
        found: secret,
    },
    Pattern {
        kind: "secret",
        expression: r"([a-z][a-z0-9+.-]*://)[^\s/@]+@",
        found: |captures| Found::Secret(format!("{}<secret>@", group(captures, 1))),
    },
    Pattern {
        kind: "arn",
        expression: r#"arn:aws[a-z-]*:[^\s"',;)\]]+"#,
        found: whole,
    },
    Pattern {
        kind: "address",
        expression: r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+",
        found: whole,
    },
    Pattern {
        kind: "guid",
        expression: r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        found: whole,
    },
    Pattern {
        kind: "group",
        expression: r#"(?i)(/resourceGroups/)([^/\s"',;)\]<]+)"#,
        found: after,
    },
    Pattern {
        kind: "resource",
        // Types and names alternate after the namespace: this is the first pair.
        expression: r#"(?i)(/providers/[a-z0-9]+\.[a-z0-9.]+/)([a-z0-9]+)/([^/\s"',;)\]<]+)"#,
        found: resource,
    },
    Pattern {
        kind: "resource",
        // A further pair, after a name that has an alias.
        expression: r#"(?i)(<resource-[0-9]+>/)([a-z0-9]+)/([^/\s"',;)\]<]+)"#,
        found: resource,
    },
    Pattern {
        kind: "ip",
        expression: r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b",
        found: |captures| match group(captures, 0).as_str() {
            "127.0.0.1" | "0.0.0.0" => Found::Keep,
            _ => whole(captures),
        },
    },
    Pattern {
        kind: "number",
        expression: r"\b[0-9]{10,20}\b",
        found: whole,
    },
];
