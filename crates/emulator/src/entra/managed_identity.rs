//! Tokens of managed identities: the metadata service of a virtual machine, and the identity endpoint of App Service.
//! Both are reached over plain HTTP, and only from the machine itself.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Signer, token};
use crate::{
    answer::Answer,
    incoming::Incoming,
    state::{ManagedIdentity, Principal, World},
};

/// The api-version from which both have the same parameters.
const FIRST_VERSION: &str = "2018-02-01";

/// Handles a request to the machine's own endpoint. `secret` is the value of `IDENTITY_HEADER`.
pub fn issue_to_machine(world: &World, signer: &Signer, request: &Incoming, secret: &str) -> Answer {
    let text: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let flavor = match text.as_slice() {
        ["metadata", "identity", "oauth2", "token"] => Flavor::Metadata,
        ["msi", "token"] => Flavor::AppService,
        _ => return Answer::empty(StatusCode::NOT_FOUND),
    };
    if request.method != "GET" {
        return Answer::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    flavor
        .check(request, secret)
        .and_then(|()| flavor.issue(world, signer, request))
        .unwrap_or_else(|refusal| refusal)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavor {
    /// `http://169.254.169.254/metadata/identity/oauth2/token`
    Metadata,
    /// `IDENTITY_ENDPOINT`
    AppService,
}

impl Flavor {
    fn check(self, request: &Incoming, secret: &str) -> Result<(), Answer> {
        if self == Self::Metadata && request.header("metadata") != Some("true") {
            return Err(self.refusal(
                StatusCode::BAD_REQUEST,
                "bad_request_102",
                "Required metadata header not specified",
            ));
        }
        if self == Self::Metadata && request.header("x-forwarded-for").is_some() {
            let text = "Requests that were forwarded are refused";
            return Err(self.refusal(StatusCode::BAD_REQUEST, "bad_request_102", text));
        }
        if self == Self::AppService && request.header("x-identity-header") != Some(secret) {
            let text = "The value of the header X-IDENTITY-HEADER is not that of IDENTITY_HEADER";
            return Err(self.refusal(StatusCode::UNAUTHORIZED, "unauthorized", text));
        }
        let version = request.query("api-version").unwrap_or_default();
        if version.as_str() < FIRST_VERSION {
            let text = format!("The api-version '{version}' is not supported");
            return Err(self.refusal(StatusCode::BAD_REQUEST, "invalid_request", &text));
        }
        Ok(())
    }

    fn issue(self, world: &World, signer: &Signer, request: &Incoming) -> Result<Answer, Answer> {
        let resource = request.query("resource").filter(|resource| !resource.is_empty());
        let resource = resource.ok_or_else(|| {
            self.refusal(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "The parameter resource is missing",
            )
        })?;
        let principal = assigned(world, request.query("client_id")).map_err(|problem| {
            let text = match self {
                Self::Metadata => problem,
                Self::AppService => {
                    "No User Assigned or Delegated Managed Identity found for specified \
                     ClientId/ResourceId/PrincipalId."
                }
            };
            self.refusal(StatusCode::BAD_REQUEST, "invalid_request", text)
        })?;
        let claims = token::claims_of(world, principal, resource, Timestamp::now());
        let token = signer
            .sign(&claims)
            .map_err(|_| Answer::empty(StatusCode::INTERNAL_SERVER_ERROR))?;
        // All numbers are text.
        let mut body = json!({
            "access_token": token, "client_id": principal.client_id, "expires_on": claims.exp.to_string(),
            "resource": claims.aud, "token_type": "Bearer",
        });
        if let (Self::Metadata, Some(members)) = (self, body.as_object_mut()) {
            let lifetime = (claims.exp - claims.nbf).to_string();
            members.insert("expires_in".into(), json!(lifetime));
            members.insert("ext_expires_in".into(), json!(lifetime));
            members.insert("not_before".into(), json!(claims.nbf.to_string()));
        }
        Ok(Answer::ok(body))
    }

    fn refusal(self, status: StatusCode, error: &str, text: &str) -> Answer {
        let body: Value = match self {
            Self::Metadata => json!({"error": error, "error_description": text}),
            Self::AppService => json!({"statusCode": status.as_u16(), "message": text,
                "correlationId": Uuid::new_v4().to_string()}),
        };
        Answer::json(status, body)
    }
}

/// The identity of the machine with a client id. Without one: the system-assigned identity, or else the only
/// user-assigned one.
fn assigned(world: &World, client_id: Option<String>) -> Result<&Principal, &'static str> {
    let of_kind = |kind| {
        let all = world.principals.values();
        all.filter(move |principal| principal.managed_identity == Some(kind))
    };
    if let Some(client_id) = client_id {
        let principal = world.principals.get(&client_id.to_ascii_lowercase());
        return principal
            .filter(|principal| principal.managed_identity.is_some())
            .ok_or("Identity not found");
    }
    let mut users = of_kind(ManagedIdentity::UserAssigned);
    match (
        of_kind(ManagedIdentity::SystemAssigned).next(),
        users.next(),
        users.next(),
    ) {
        (Some(system), ..) => Ok(system),
        (None, Some(only), None) => Ok(only),
        (None, None, _) => Err("Identity not found"),
        (None, Some(_), Some(_)) => Err(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in \
             the token request",
        ),
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Bytes,
        http::{HeaderMap, HeaderValue, Method},
    };

    use super::*;

    const METADATA: (&str, &str) = ("metadata", "true");
    const HEADER: (&str, &str) = ("x-identity-header", "secret");

    fn ask(world: &World, path: &str, query: &str, headers: &[(&'static str, &str)]) -> Answer {
        let key =
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let signer = Signer::new(&key.serialize_pem()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let request = Incoming::new(Method::GET, path, query, map, Bytes::new());
        issue_to_machine(world, &signer, &request, "secret")
    }

    fn world(identities: &[(&str, ManagedIdentity)]) -> World {
        let mut world = World::with_defaults();
        for (client_id, kind) in identities {
            let mut principal = Principal::new(client_id, "tenant");
            principal.managed_identity = Some(*kind);
            world.principals.insert((*client_id).to_owned(), principal);
        }
        world
    }

    const TOKEN: &str = "/metadata/identity/oauth2/token";
    const QUERY: &str = "api-version=2019-08-01&resource=https://management.azure.com";

    #[test]
    fn the_headers_of_each_flavor_are_required() {
        let world = world(&[("system", ManagedIdentity::SystemAssigned)]);
        let forwarded = ("x-forwarded-for", "10.0.0.1");
        for (path, headers, status) in [
            (TOKEN, vec![METADATA], 200),
            (TOKEN, vec![], 400),
            (TOKEN, vec![HEADER], 400),
            (TOKEN, vec![METADATA, forwarded], 400),
            ("/msi/token", vec![HEADER], 200),
            ("/msi/token", vec![METADATA], 401),
            ("/msi/token", vec![("x-identity-header", "other")], 401),
            ("/subscriptions", vec![METADATA], 404),
        ] {
            let answer = ask(&world, path, QUERY, &headers);
            assert_eq!(answer.status.as_u16(), status, "{path} {headers:?}");
        }
        for query in [
            "resource=x",
            "api-version=2017-09-01&resource=x",
            "api-version=2019-08-01",
        ] {
            assert_eq!(ask(&world, TOKEN, query, &[METADATA]).status, 400, "{query}");
        }
    }

    #[test]
    fn the_client_id_selects_an_identity_of_the_machine() {
        use ManagedIdentity::{SystemAssigned, UserAssigned};
        for (identities, client, expected) in [
            (vec![("s", SystemAssigned), ("u", UserAssigned)], None, Ok("s")),
            (
                vec![("s", SystemAssigned), ("u", UserAssigned)],
                Some("U"),
                Ok("u"),
            ),
            (vec![("u", UserAssigned)], None, Ok("u")),
            (
                vec![("u", UserAssigned), ("v", UserAssigned)],
                None,
                Err("Multiple"),
            ),
            (vec![], None, Err("Identity not found")),
            (vec![("s", SystemAssigned)], Some("x"), Err("Identity not found")),
            // An application that is not assigned to the machine.
            (
                vec![],
                Some(crate::state::DEFAULT_CLIENT),
                Err("Identity not found"),
            ),
        ] {
            let world = world(&identities);
            let client = client
                .map(|client| format!("&client_id={client}"))
                .unwrap_or_default();
            let answer = ask(&world, TOKEN, &format!("{QUERY}{client}"), &[METADATA]);
            let body = answer.body.unwrap();
            match expected {
                Ok(client_id) => assert_eq!(body["client_id"], client_id, "{body}"),
                Err(text) => {
                    let found = body["error_description"].as_str().unwrap();
                    assert!(found.starts_with(text), "{body}");
                }
            }
        }
    }

    #[test]
    fn each_flavor_has_its_form_of_a_token() {
        let world = world(&[("system", ManagedIdentity::SystemAssigned)]);
        let metadata = ask(&world, TOKEN, QUERY, &[METADATA]).body.unwrap();
        assert_eq!(
            (&metadata["resource"], &metadata["token_type"]),
            (&json!("https://management.azure.com"), &json!("Bearer"))
        );
        assert!(
            metadata["expires_on"].is_string() && metadata["expires_in"].is_string(),
            "{metadata}"
        );
        let app = ask(&world, "/msi/token", QUERY, &[HEADER]).body.unwrap();
        assert!(
            app["expires_on"].is_string() && app.get("expires_in").is_none(),
            "{app}"
        );
        let refused = ask(&world, "/msi/token", &format!("{QUERY}&client_id=x"), &[HEADER]);
        let body = refused.body.unwrap();
        assert_eq!((refused.status.as_u16(), &body["statusCode"]), (400, &json!(400)));
    }
}
