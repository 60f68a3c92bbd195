//! `Microsoft.Management/managementGroups`: a name and a list of subscriptions.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, refusals};
use crate::answer::{Answer, ArmError};

const READ: &str = "Microsoft.Management/managementGroups/read";

/// `GET /providers/Microsoft.Management/managementGroups/{name}/descendants`.
///
/// A caller with read access to groups in the whole tenant gets 404 for a missing group; every other caller
/// gets the same 403 for a missing group and for one without access.
pub(super) fn descendants(call: &Call<'_>) -> Result<Answer, ArmError> {
    if call.request.method != Method::GET {
        return Err(refusals::no_method(
            call.request.method.as_str(),
            "managementGroups",
        ));
    }
    let name = call.request.segment(3);
    let principal = call.principal();
    let reads = |subscription: &str| principal.is_some_and(|principal| principal.may(subscription, READ));
    let group = call.world.management_group(name);
    let everywhere = reads("*");
    let (name, members) = match group {
        Some((name, members)) if everywhere || members.iter().any(|id| reads(id)) => (name, members),
        None if everywhere => {
            let text = format!("'/providers/Microsoft.Management/managementGroups/{name}' not found");
            return Err(ArmError::new(StatusCode::NOT_FOUND, "NotFound", text));
        }
        _ => {
            let (caller, action) = (
                call.caller,
                "Microsoft.Management/managementGroups/descendants/read",
            );
            let scope = format!("/providers/Microsoft.Management/managementGroups/{name}");
            return Err(refusals::authorization_failed(
                &caller.client_id,
                &caller.object_id,
                action,
                &scope,
            ));
        }
    };
    let parent = format!("/providers/Microsoft.Management/managementGroups/{name}");
    let items: Vec<Value> = members
        .iter()
        .filter(|id| call.sees(id))
        .filter_map(|id| call.world.subscriptions.get(id))
        .map(|subscription| {
            json!({
                "id": format!("/subscriptions/{}", subscription.id), "name": subscription.id,
                "type": "Microsoft.Management/managementGroups/subscriptions",
                "properties": {"displayName": subscription.display_name, "parent": {"id": parent}},
            })
        })
        .collect();
    Ok(Answer::list(items))
}
