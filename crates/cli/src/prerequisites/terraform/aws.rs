//! Terraform for an AWS account. The members of an organization get their roles from a stack set, as Azure expects, with
//! the same template as the format `cloudformation`.

use serverprotection_core::security_connector::prerequisites::{
    ISSUER, Prerequisites,
    aws::{self, ACCOUNT, Aws, Organization, Policy, Role, Statement},
};

use super::settings;
use crate::{
    error::CliError,
    prerequisites::{
        IdentityProvider, cloudformation,
        hcl::{self, Block, Expression, Item, argument, block, raw, texts},
        words,
    },
};

/// The configuration with its comment.
///
/// # Errors
///
/// Fails if the template of the members cannot be written as YAML, which would be a bug.
pub(in crate::prerequisites) fn render(
    shown: &str,
    found: &Prerequisites,
    aws: &Aws,
    provider: IdentityProvider,
) -> Result<String, CliError> {
    let mut lines = words::head(shown, found);
    lines.push(String::new());
    lines.extend(usage(aws, provider));
    let account = block(
        "provider",
        ["aws"],
        vec![argument("allowed_account_ids", texts([&aws.account_id]))],
    );
    let mut blocks = vec![
        settings("aws", ">= 5.90"),
        account,
        identity_provider(aws, provider),
    ];
    for role in &aws.roles {
        blocks.extend(role_blocks(found, aws, role, provider));
    }
    if let Some(organization) = &aws.organization {
        blocks.extend(stack_set(
            organization,
            cloudformation::member_template(found, aws)?,
        ));
    }
    Ok(hcl::file(&lines, &blocks))
}

fn usage(aws: &Aws, provider: IdentityProvider) -> Vec<String> {
    let mut lines = Vec::new();
    if provider == IdentityProvider::Existing {
        lines.push(
            "The account already has the identity provider, and this configuration only reads it. Add the audiences first:"
                .into(),
        );
        lines.extend(
            words::add_audiences(aws)
                .into_iter()
                .map(|command| format!("  {command}")),
        );
    } else {
        lines.push(format!(
            "If {} already exists, another product",
            aws.provider_arn()
        ));
        lines.push(
            "(for example Microsoft Sentinel) created it: run the command again with --existing-identity-provider."
                .into(),
        );
        lines.push(
            "Do not import it: Terraform would replace its audiences with those of this connector.".into(),
        );
    }
    if aws.organization.is_some() {
        lines.push(String::new());
        lines.push("The stack set needs trusted access of CloudFormation StackSets to the organization. If a member account already has".into());
        lines.push(
            "the identity provider, set the parameter IdentityProvider to Existing for it, and add the audiences in that account."
                .into(),
        );
    }
    lines
}

fn identity_provider(aws: &Aws, provider: IdentityProvider) -> Block {
    match provider {
        IdentityProvider::New => block(
            "resource",
            ["aws_iam_openid_connect_provider", "defender"],
            vec![
                argument("url", ISSUER),
                argument("client_id_list", texts(&aws.audiences)),
                argument("thumbprint_list", texts([aws::THUMBPRINT])),
            ],
        ),
        IdentityProvider::Existing => block(
            "data",
            ["aws_iam_openid_connect_provider", "defender"],
            vec![argument("arn", aws.provider_arn().as_str())],
        ),
    }
}

fn role_blocks(found: &Prerequisites, aws: &Aws, role: &Role, provider: IdentityProvider) -> Vec<Block> {
    let key = role.uses.first().map_or("", |used| used.key);
    let mut blocks = vec![block(
        "resource",
        ["aws_iam_role", key],
        vec![
            argument("name", role.name.as_str()),
            argument("path", role.path.as_str()),
            argument("description", cloudformation::description(role).as_str()),
            Item::Blank,
            argument("assume_role_policy", trust(found, role, provider)),
        ],
    )];
    let this = |attribute: &str| raw(format!("aws_iam_role.{key}.{attribute}"));
    for used in &role.uses {
        if let Some(policy) = used.managed_policy {
            blocks.push(block(
                "resource",
                ["aws_iam_role_policy_attachment", used.key],
                vec![argument("role", this("name")), argument("policy_arn", policy)],
            ));
        }
        if let Some(policy) = used.policy {
            blocks.push(block(
                "resource",
                ["aws_iam_role_policy", used.key],
                vec![
                    argument("name", policy.name),
                    argument("role", this("id")),
                    Item::Blank,
                    argument("policy", policy_document(policy, &aws.account_id)),
                ],
            ));
        }
    }
    blocks
}

fn trust(found: &Prerequisites, role: &Role, provider: IdentityProvider) -> Expression {
    let of = match provider {
        IdentityProvider::New => "",
        IdentityProvider::Existing => "data.",
    };
    let federated = raw(format!("{of}aws_iam_openid_connect_provider.defender.arn"));
    let equals = Expression::Object(vec![
        (aws::audience_key(), texts(role.audiences())),
        (
            aws::SESSION_KEY.into(),
            aws::session_name(&found.tenant).as_str().into(),
        ),
    ]);
    document(vec![Expression::Object(vec![
        ("Effect".into(), "Allow".into()),
        (
            "Principal".into(),
            Expression::Object(vec![("Federated".into(), federated)]),
        ),
        ("Action".into(), "sts:AssumeRoleWithWebIdentity".into()),
        (
            "Condition".into(),
            Expression::Object(vec![("StringEquals".into(), equals)]),
        ),
    ])])
}

fn policy_document(policy: Policy, account: &str) -> Expression {
    let statements = policy.statements.iter();
    document(statements.map(|one| statement(one, account)).collect())
}

fn statement(statement: &Statement, account: &str) -> Expression {
    let resources = statement
        .resources
        .iter()
        .map(|arn| arn.replace(ACCOUNT, account));
    let mut members = vec![
        ("Sid".to_owned(), statement.id.into()),
        ("Effect".into(), "Allow".into()),
        ("Action".into(), texts(statement.actions)),
        ("Resource".into(), texts(resources)),
    ];
    if let Some((key, value)) = statement.tagged {
        let equals = Expression::Object(vec![(format!("aws:ResourceTag/{key}"), value.into())]);
        members.push((
            "Condition".into(),
            Expression::Object(vec![("StringEquals".into(), equals)]),
        ));
    }
    Expression::Object(members)
}

fn document(statements: Vec<Expression>) -> Expression {
    Expression::Json(Box::new(Expression::Object(vec![
        ("Version".into(), "2012-10-17".into()),
        ("Statement".into(), Expression::List(statements)),
    ])))
}

fn stack_set(organization: &Organization, template: String) -> [Block; 3] {
    let units = block(
        "variable",
        ["organizational_unit_ids"],
        vec![
            argument(
                "description",
                "Root (r-xxxx) or organizational units (ou-xxxx-xxxxxxxx) of the organization whose accounts to connect",
            ),
            argument("type", raw("list(string)")),
        ],
    );
    let auto_deployment = vec![
        argument("enabled", true),
        argument("retain_stacks_on_account_removal", false),
    ];
    let stack_set = block(
        "resource",
        ["aws_cloudformation_stack_set", "members"],
        vec![
            argument("name", organization.stack_set_name.as_str()),
            argument(
                "description",
                "Microsoft Defender for Cloud in the member accounts of the organization",
            ),
            argument("permission_model", "SERVICE_MANAGED"),
            argument("capabilities", texts(["CAPABILITY_NAMED_IAM"])),
            Item::Blank,
            Item::Block(block("auto_deployment", [], auto_deployment)),
            Item::Blank,
            argument("template_body", Expression::Lines(template)),
            Item::Blank,
            Item::Comment("AWS sets it for service-managed stack sets.".into()),
            Item::Block(block(
                "lifecycle",
                [],
                vec![argument(
                    "ignore_changes",
                    Expression::List(vec![raw("administration_role_arn")]),
                )],
            )),
        ],
    );
    let mut targets = vec![argument(
        "organizational_unit_ids",
        raw("var.organizational_unit_ids"),
    )];
    if !organization.excluded_account_ids.is_empty() {
        targets.push(argument("account_filter_type", "DIFFERENCE"));
        targets.push(argument("accounts", texts(&organization.excluded_account_ids)));
    }
    let instances = block(
        "resource",
        ["aws_cloudformation_stack_set_instance", "members"],
        vec![
            argument("stack_set_name", raw("aws_cloudformation_stack_set.members.name")),
            Item::Blank,
            Item::Block(block("deployment_targets", [], targets)),
        ],
    );
    [units, stack_set, instances]
}
