//! A script with gcloud commands. It is safe to run again: it keeps existing resources and adds what is missing.

use serverprotection_core::security_connector::prerequisites::{
    ISSUER, Prerequisites,
    gcp::{
        CustomRole, FEDERATED_ROLE, Gcp, Grant, POOL_NAME, Provider, SUBJECT_MAPPING, ServiceAccount,
        TOKEN_CREATOR_ROLE,
    },
};

use super::words;
use crate::printable;

/// The script.
pub(super) fn render(shown: &str, found: &Prerequisites, gcp: &Gcp) -> String {
    let mut lines = words::head(shown, found);
    lines.push(String::new());
    lines.push(
        "This script is safe to run again: it keeps existing resources and adds what is missing.".into(),
    );
    let comment = printable::comment("#", &lines);
    let mut script = format!("#!/usr/bin/env bash\n{comment}set -euo pipefail\n\n");
    script += &variables(gcp);
    script.push('\n');
    script += FUNCTIONS;
    script += &scope(gcp);
    script += &apis(gcp);
    script += "echo 'Workload identity pool' >&2\npool\n";
    for provider in &gcp.providers {
        script += &provider_line(provider);
    }
    script += "\necho 'Roles' >&2\n";
    for role in &gcp.custom_roles {
        script += &role_line(role);
    }
    for account in &gcp.service_accounts {
        script += &account_lines(account);
    }
    if !gcp.foreign_grants.is_empty() {
        script += "\necho \"Microsoft's own service accounts\" >&2\n";
        for (email, grant) in &gcp.foreign_grants {
            script += &grant_line(email, *grant);
            script.push('\n');
        }
    }
    script + "\necho 'Done.' >&2\n"
}

fn variables(gcp: &Gcp) -> String {
    let (google, assertion) = SUBJECT_MAPPING;
    [
        ("project", gcp.project_id.as_str()),
        ("project_number", &gcp.project_number),
        ("pool", &gcp.pool),
        ("pool_name", POOL_NAME),
        ("issuer", ISSUER),
        ("mapping", &format!("{google}={assertion}")),
        ("pool_member", &gcp.pool_member()),
    ]
    .map(|(name, value)| format!("{name}={}\n", quoted(value)))
    .concat()
}

/// The functions that the lines below call.
const FUNCTIONS: &str = include_str!("gcloud.sh");

/// The project or organization in which roles are defined and granted.
fn scope(gcp: &Gcp) -> String {
    if gcp.organization {
        r#"
# The organization of the project, unless ORGANIZATION_ID is set.
organization=${ORGANIZATION_ID:-$(gcloud projects get-ancestors "$project" --format='csv[no-heading](type,id)' | sed -n 's/^organization,//p')}
if [[ ! $organization =~ ^[0-9]+$ ]]; then
  echo "cannot find the organization of project $project: set ORGANIZATION_ID (gcloud organizations list)" >&2
  exit 1
fi
role_scope=("--organization=$organization")
role_prefix=organizations/$organization/roles
binding=(organizations add-iam-policy-binding "$organization")
"#
        .into()
    } else {
        r#"
role_scope=("--project=$project")
role_prefix=projects/$project/roles
binding=(projects add-iam-policy-binding "$project")
"#
        .into()
    }
}

fn apis(gcp: &Gcp) -> String {
    let apis: Vec<_> = gcp.apis.iter().map(|api| quoted(api)).collect();
    format!(
        "\necho 'APIs' >&2\ngcloud services enable --project=\"$project\" {}\n\n",
        apis.join(" ")
    )
}

fn provider_line(provider: &Provider) -> String {
    format!(
        "provider {} {}\n",
        quoted(&provider.id),
        quoted(&provider.audiences.join(","))
    )
}

fn role_line(role: &CustomRole) -> String {
    format!(
        "custom_role {} {} {}\n",
        quoted(role.id),
        quoted(&format!("Microsoft Defender for Cloud: {}", role.purpose)),
        quoted(&role.permissions.join(","))
    )
}

fn account_lines(account: &ServiceAccount) -> String {
    let email = quoted(&account.email);
    let title = quoted(&format!("Service account {}", account.email));
    let mut lines = vec![String::new(), format!("echo {title} >&2")];
    let purposes = printable::comment("#", &account.purposes);
    lines.extend(purposes.lines().map(str::to_owned));
    lines.push(format!(
        "service_account {} {email} {}",
        quoted(&account.id),
        quoted(account.display_name)
    ));
    lines.extend(
        account
            .grants
            .iter()
            .map(|grant| grant_line(&account.email, *grant)),
    );
    if account.federated {
        lines.push(format!(
            "allow_acting_as \"$pool_member\" {email} {FEDERATED_ROLE}"
        ));
    }
    if let Some(user) = &account.used_by {
        let user = quoted(&format!("serviceAccount:{user}"));
        lines.push(format!("allow_acting_as {user} {email} {TOKEN_CREATOR_ROLE}"));
    }
    lines.join("\n") + "\n"
}

fn grant_line(email: &str, grant: Grant) -> String {
    match grant {
        Grant::Predefined(role) => format!("grant {} {role}", quoted(email)),
        Grant::Custom(id) => format!("grant {} \"$role_prefix\"/{id}", quoted(email)),
    }
}

/// Quotes a text as one word of the shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"_-./:@,=".contains(&c);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::quoted;
    use crate::printable::tests::hostile;

    /// Reads one word as a shell does. `None` if it is not exactly one word without expansions.
    fn word(script: &str) -> Option<String> {
        let mut word = String::new();
        let mut rest = script;
        while let Some(character) = rest.chars().next() {
            let (first, after) = rest.split_at(character.len_utf8());
            rest = match character {
                '\'' => {
                    let (inner, after) = after.split_once('\'')?;
                    word.push_str(inner);
                    after
                }
                '\\' => {
                    word.push_str(after.get(..1).filter(|next| *next == "'")?);
                    after.get(1..)?
                }
                plain if plain.is_ascii_alphanumeric() || "_-./:@,=".contains(plain) => {
                    word.push_str(first);
                    after
                }
                _ => return None,
            };
        }
        (!script.is_empty()).then_some(word)
    }

    proptest! {
        #[test]
        fn any_text_is_one_word_that_the_shell_does_not_expand(text in hostile(), command in "[$`(){};&|<>*?~! \"'\\\\\n]{0,4}") {
            let text = text + &command;
            prop_assert_eq!(word(&quoted(&text)), Some(text));
        }
    }

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("roles/viewer"), "roles/viewer");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("$(rm -rf /)`x`"), "'$(rm -rf /)`x`'");
        assert_eq!(quoted("it's\nnew"), "'it'\\''s\nnew'");
    }
}
