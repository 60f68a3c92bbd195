//! Terraform for a GCP project, or for an organization and its management project.

use serverprotection_core::security_connector::prerequisites::{
    ISSUER, Prerequisites,
    gcp::{
        CustomRole, FEDERATED_ROLE, Gcp, Grant, POOL_NAME, Provider, SUBJECT_MAPPING, ServiceAccount,
        TOKEN_CREATOR_ROLE,
    },
};

use super::settings;
use crate::prerequisites::{
    hcl::{self, Block, Expression, Item, argument, block, raw, texts},
    words,
};

const POOL: &str = "google_iam_workload_identity_pool.defender";

/// The configuration with its comment.
pub(in crate::prerequisites) fn render(shown: &str, found: &Prerequisites, gcp: &Gcp) -> String {
    let mut lines = words::head(shown, found);
    lines.push(String::new());
    lines.push("Policies keep their other members. Import resources that another tool (for example Microsoft's script) already created.".into());
    lines.push("If the workload identity pool, a provider or a custom role was deleted in the last weeks, its ID is still taken: restore it".into());
    lines.push("with gcloud iam workload-identity-pools undelete, ... providers undelete or gcloud iam roles undelete, and import it.".into());
    let project = block(
        "provider",
        ["google"],
        vec![argument("project", gcp.project_id.as_str())],
    );
    let mut blocks = vec![settings("google", ">= 5.0"), project];
    if gcp.organization {
        blocks.push(block(
            "variable",
            ["organization_id"],
            vec![
                argument(
                    "description",
                    "ID of the organization, only digits (gcloud organizations list)",
                ),
                argument("type", raw("string")),
            ],
        ));
    }
    blocks.push(connected_project(gcp));
    blocks.push(apis(gcp));
    blocks.push(pool(gcp));
    blocks.extend(gcp.providers.iter().map(provider));
    blocks.extend(gcp.custom_roles.iter().map(|role| custom_role(gcp, role)));
    for account in &gcp.service_accounts {
        blocks.extend(service_account(gcp, account));
    }
    for (number, (email, grant)) in gcp.foreign_grants.iter().enumerate() {
        let label = format!("microsoft_{}", number + 1);
        blocks.push(grant_block(gcp, &label, &quoted_member(email), *grant));
    }
    hcl::file(&lines, &blocks)
}

/// The project of the connector. Checks that its number and ID belong together.
fn connected_project(gcp: &Gcp) -> Block {
    let condition = format!("self.number == {}", hcl::quoted(&gcp.project_number));
    let guard = block(
        "postcondition",
        [],
        vec![
            argument("condition", raw(condition)),
            argument(
                "error_message",
                "gcp.projectId and gcp.projectNumber of the connector name different projects.",
            ),
        ],
    );
    block(
        "data",
        ["google_project", "connected"],
        vec![
            argument("project_id", gcp.project_id.as_str()),
            Item::Blank,
            Item::Block(block("lifecycle", [], vec![Item::Block(guard)])),
        ],
    )
}

fn apis(gcp: &Gcp) -> Block {
    block(
        "resource",
        ["google_project_service", "required"],
        vec![
            argument("for_each", Expression::Set(Box::new(texts(&gcp.apis)))),
            Item::Blank,
            argument("project", raw("data.google_project.connected.project_id")),
            argument("service", raw("each.value")),
            argument("disable_on_destroy", false),
        ],
    )
}

fn after_apis() -> Item {
    argument(
        "depends_on",
        Expression::List(vec![raw("google_project_service.required")]),
    )
}

fn pool(gcp: &Gcp) -> Block {
    block(
        "resource",
        ["google_iam_workload_identity_pool", "defender"],
        vec![
            argument("workload_identity_pool_id", gcp.pool.as_str()),
            argument("display_name", POOL_NAME),
            after_apis(),
        ],
    )
}

fn provider(provider: &Provider) -> Block {
    let (google, assertion) = SUBJECT_MAPPING;
    let mapping = Expression::Object(vec![(google.into(), assertion.into())]);
    let oidc = vec![
        argument("issuer_uri", ISSUER),
        argument("allowed_audiences", texts(&provider.audiences)),
    ];
    block(
        "resource",
        ["google_iam_workload_identity_pool_provider", provider.key],
        vec![
            argument(
                "workload_identity_pool_id",
                raw(format!("{POOL}.workload_identity_pool_id")),
            ),
            argument("workload_identity_pool_provider_id", provider.id.as_str()),
            Item::Blank,
            argument("attribute_mapping", mapping),
            Item::Blank,
            Item::Block(block("oidc", [], oidc)),
        ],
    )
}

fn custom_role(gcp: &Gcp, role: &CustomRole) -> Block {
    let mut body = vec![
        argument("role_id", role.id),
        argument("title", role.id),
        argument(
            "description",
            format!("Microsoft Defender for Cloud: {}", role.purpose).as_str(),
        ),
        argument("permissions", texts(&role.permissions)),
    ];
    if gcp.organization {
        body.insert(0, argument("org_id", raw("var.organization_id")));
    }
    block("resource", [custom_role_type(gcp), role.key], body)
}

fn custom_role_type(gcp: &Gcp) -> &'static str {
    if gcp.organization {
        "google_organization_iam_custom_role"
    } else {
        "google_project_iam_custom_role"
    }
}

fn service_account(gcp: &Gcp, account: &ServiceAccount) -> Vec<Block> {
    let key = account.key;
    let this = format!("google_service_account.{key}");
    let mut blocks = vec![block(
        "resource",
        ["google_service_account", key],
        vec![
            argument("account_id", account.id.as_str()),
            argument("display_name", account.display_name),
            argument("description", account.purposes.join("; ").as_str()),
            after_apis(),
        ],
    )];
    for (number, grant) in account.grants.iter().enumerate() {
        let label = format!("{key}_{}", number + 1);
        blocks.push(grant_block(gcp, &label, &format!("{this}.member"), *grant));
    }
    let mut acts_as = |label: &str, role: &str, member: String| {
        let body = vec![
            argument("service_account_id", raw(format!("{this}.name"))),
            argument("role", role),
            argument("member", raw(member)),
        ];
        blocks.push(block(
            "resource",
            ["google_service_account_iam_member", label],
            body,
        ));
    };
    if account.federated {
        let member = format!("\"principalSet://iam.googleapis.com/${{{POOL}.name}}/*\"");
        acts_as(&format!("{key}_federated"), FEDERATED_ROLE, member);
    }
    if let Some(email) = &account.used_by {
        let user = gcp.service_accounts.iter().find(|known| known.email == *email);
        let member = user.map_or_else(
            || quoted_member(email),
            |user| format!("google_service_account.{}.member", user.key),
        );
        acts_as(&format!("{key}_used"), TOKEN_CREATOR_ROLE, member);
    }
    blocks
}

fn quoted_member(email: &str) -> String {
    hcl::quoted(&format!("serviceAccount:{email}"))
}

fn grant_block(gcp: &Gcp, label: &str, member: &str, grant: Grant) -> Block {
    let role = match grant {
        Grant::Predefined(role) => Expression::from(role),
        Grant::Custom(id) => {
            let role = gcp.custom_roles.iter().find(|role| role.id == id);
            raw(format!(
                "{}.{}.id",
                custom_role_type(gcp),
                role.map_or("", |role| role.key)
            ))
        }
    };
    let (kind, scope) = if gcp.organization {
        (
            "google_organization_iam_member",
            argument("org_id", raw("var.organization_id")),
        )
    } else {
        (
            "google_project_iam_member",
            argument("project", raw("data.google_project.connected.project_id")),
        )
    };
    block(
        "resource",
        [kind, label],
        vec![scope, argument("role", role), argument("member", raw(member))],
    )
}
