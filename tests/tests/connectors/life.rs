//! The life of a connector, for each of the four shapes: created, in sync, edited, repaired, released.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error,
    env::Environment,
    harness::{Case, case},
    team::Team,
};

use super::{SOON, protected, ready, requests, told};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    vec![case("each_shape_is_created_edited_and_repaired", shapes)]
}

fn shape(team: &Team<'_>, shape: &str) -> Value {
    let account = &team.account;
    let sa = |name: &str| format!("{name}@my-project.iam.gserviceaccount.com");
    match shape {
        "aws" => json!({}),
        "aws-organization" => json!({"aws": {"organization": {"stackSetName": "defender"}}}),
        "gcp" => json!({"type": "GCP", "gcp": {"projectNumber": account, "projectId": "my-project"}}),
        _ => json!({"type": "GCP", "gcp": {"projectNumber": account, "projectId": "my-project",
            "organization": {"serviceAccount": sa("onboarding"), "workloadIdentityProvider": "auto-provisioner"}}}),
    }
}

async fn shapes(environment: Arc<Environment>) -> Result<(), Error> {
    for kind in ["aws", "aws-organization", "gcp", "gcp-organization"] {
        let team = protected(&environment, kind).await?;
        team.connect("account", shape(&team, kind)).await?;
        let object = ready(&team, "account").await?;
        assert_eq!(object["status"]["tier"], "P2");
        assert_eq!(object["status"]["account"], team.account.as_str());
        assert_eq!(told(&object, "CloudAuthenticated").0, "True");
        assert!(object["metadata"]["finalizers"].is_null());
        assert_eq!(requests(&team, "PUT").await?.len(), 1, "{kind}");

        let protection = team
            .until_holds("prod", "1/1", SOON, |object| {
                object["status"]["connectors"]["summary"] == "1/1"
            })
            .await?;
        assert_eq!(told(&protection, "ConnectorsReady").1, "AllReady");

        team.connectors().delete("account", SOON).await?;
    }
    Ok(())
}
