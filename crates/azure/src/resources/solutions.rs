//! The solution `Security(workspace)` of a Log Analytics workspace (docs/azure-api.md 1.9). Read only.

use reqwest::Method;
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    reading::ReadResult,
};

use crate::{
    arm::{Arm, Call},
    body,
    throttled::Budget,
};

const GET: &str = "GET solutions/Security";

impl Arm {
    /// The provisioning state of the solution; `None` if the workspace does not have it.
    pub(crate) async fn security_solution(&self, workspace_id: &str) -> ReadResult<Option<String>> {
        let parts: Vec<_> = workspace_id.trim_matches('/').split('/').collect();
        let [_, subscription, _, group, _, _, _, workspace] = parts.as_slice() else {
            return Err(AzureError {
                class: ErrorClass::Refused,
                code: "InvalidResourceId".into(),
                message: format!("\"{workspace_id}\" is not the resource id of a workspace"),
                operation: GET.into(),
                request_id: None,
                effect_unknown: false,
            });
        };
        let solution = format!("Security({workspace})");
        let answer = self
            .call(&Call {
                method: Method::GET,
                operation: GET,
                budget: Budget::Subscription(subscription),
                path: &[
                    "subscriptions",
                    subscription,
                    "resourceGroups",
                    group,
                    "providers",
                    "Microsoft.OperationsManagement",
                    "solutions",
                    &solution,
                ],
                api_version: "2015-11-01-preview",
                body: None,
                timeout: None,
                permit: None,
            })
            .await;
        match answer {
            Ok(body) => {
                // Only the state may be absent.
                body::text(GET, &body, "/name")?;
                let state = body::optional_text(GET, &body, "/properties/provisioningState")?;
                Ok(Some(state.unwrap_or("Succeeded").to_owned()))
            }
            Err(failure) if failure.class == ErrorClass::NotFound && failure.code == "ResourceNotFound" => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}
