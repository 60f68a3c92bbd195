//! The token endpoint.

use jiff::Timestamp;
use jsonwebtoken::decode_header;
use serde_json::json;
use uuid::Uuid;

use super::{Signer, assertion, certificate, refusal::Refusal, signing::Claims};
use crate::{
    answer::Answer,
    incoming::Incoming,
    state::{Principal, World},
    switches::Switch,
};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Handles `POST /{tenant}/oauth2[/v2.0]/token`.
pub fn issue(world: &mut World, signer: &Signer, tenant: &str, request: &Incoming, host: &str) -> Answer {
    let now = Timestamp::now();
    match claims(world, tenant, request, host, now) {
        Ok(claims) => match signer.sign(&claims) {
            Ok(token) => {
                let lifetime = claims.exp - now.as_second();
                // v1 writes numbers as strings.
                let body = if request.segments.len() == 3 {
                    json!({"token_type": "Bearer", "expires_in": lifetime.to_string(),
                           "ext_expires_in": lifetime.to_string(), "expires_on": claims.exp.to_string(),
                           "not_before": claims.nbf.to_string(), "resource": claims.aud, "access_token": token})
                } else {
                    json!({"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime,
                           "access_token": token})
                };
                Answer::ok(body)
            }
            Err(error) => {
                Refusal::request(90033, format!("A transient error occurred: {error}")).answer(host, now)
            }
        },
        Err(refusal) => refusal.answer(host, now),
    }
}

fn claims(
    world: &mut World,
    tenant: &str,
    request: &Incoming,
    host: &str,
    now: Timestamp,
) -> Result<Claims, Refusal> {
    let tenant_id = world.tenant_named(tenant).ok_or_else(|| {
        Refusal::request(
            90002,
            format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing \
                 into the correct cloud. Check with your subscription administrator, this may happen if there \
                 are no active subscriptions for the tenant."
            ),
        )
    })?;
    let grant = request.form("grant_type").unwrap_or_default();
    if grant != "client_credentials" {
        return Err(Refusal::request(
            70003,
            format!("The app requested an unsupported grant type '{grant}'."),
        ));
    }
    let client = request.form("client_id").unwrap_or_default().to_ascii_lowercase();
    let principal = world
        .principals
        .get(&client)
        .filter(|principal| principal.tenant == tenant_id)
        .cloned()
        .ok_or_else(|| {
            Refusal::unauthorized(
                700_016,
                format!(
                    "Application with identifier '{client}' was not found in the directory '{tenant_id}'. This can \
                     happen if the application has not been installed by the administrator of the tenant or \
                     consented to by any user in the tenant. You may have sent your authentication request to \
                     the wrong tenant."
                ),
            )
        })?;
    let appidacr = if let Some(secret) = request.form("client_secret") {
        if !principal.secrets.contains(&secret) {
            return Err(Refusal::client(
                7_000_215,
                format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client \
                     secret value, not the client secret ID, for a secret added to app '{client}'."
                ),
            ));
        }
        "1"
    } else if let Some(assertion) = request.form("client_assertion") {
        if request.form("client_assertion_type").as_deref() != Some(ASSERTION_TYPE) {
            return Err(Refusal::request(
                900_144,
                "The request body must contain the following parameter: 'client_assertion_type'.",
            ));
        }
        let now = now.as_second();
        let header = decode_header(&assertion)
            .ok()
            .filter(|header| certificate::thumbprint(header).is_some());
        match header {
            None => assertion::check(&assertion, &principal, now)?,
            Some(header) => {
                let endpoints = endpoints(host, tenant, &tenant_id);
                let accepted = certificate::check(&assertion, &header, &principal, &endpoints, now)?;
                use_once(world, accepted, now)?;
            }
        }
        "2"
    } else {
        return Err(Refusal::client(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        ));
    };
    let audience = audience(request).ok_or_else(|| {
        Refusal::request(
            900_144,
            "The request body must contain the following parameter: 'scope'.",
        )
    })?;
    Ok(Claims {
        appidacr: appidacr.into(),
        ..claims_of(world, &principal, audience, now)
    })
}

/// The claims of a token of a principal.
pub(super) fn claims_of(world: &World, principal: &Principal, audience: String, now: Timestamp) -> Claims {
    let lifetime = i64::try_from(world.knobs.token_lifetime.as_secs()).unwrap_or(3599);
    let begins = now.as_second();
    let issuer = format!("https://sts.windows.net/{}/", principal.tenant);
    Claims {
        aud: audience,
        iss: issuer.clone(),
        iat: begins,
        nbf: begins,
        exp: begins + lifetime,
        appid: principal.client_id.clone(),
        appidacr: "2".into(),
        idp: issuer,
        idtyp: "app".into(),
        oid: principal.object_id.clone(),
        sub: principal.object_id.clone(),
        tid: principal.tenant.clone(),
        uti: Uuid::new_v4().simple().to_string(),
        ver: "1.0".into(),
    }
}

/// The accepted audiences of an assertion: the token endpoints of the tenant, and its issuer.
fn endpoints(host: &str, tenant: &str, tenant_id: &str) -> Vec<String> {
    let of = |tenant: &str| {
        ["oauth2/v2.0/token", "oauth2/token", "v2.0"].map(|path| format!("{host}/{tenant}/{path}"))
    };
    of(tenant).into_iter().chain(of(tenant_id)).collect()
}

/// Remembers an assertion while it is valid, and refuses it the second time if the switch says so.
fn use_once(world: &mut World, accepted: certificate::Accepted, now: i64) -> Result<(), Refusal> {
    world.used_assertions.retain(|_, expires| *expires > now);
    let refused = !world.switches.flipped(Switch::RepeatedAssertion);
    let is_repeated = world
        .used_assertions
        .insert(accepted.id, accepted.expires)
        .is_some();
    if is_repeated && refused {
        let message = "JWT token is invalid or malformed: the assertion was already used.";
        return Err(Refusal::client(50027, message));
    }
    Ok(())
}

/// `resource` of v1, or the first scope of v2 without `/.default`. A double slash is intended.
fn audience(request: &Incoming) -> Option<String> {
    if let Some(resource) = request.form("resource") {
        return Some(resource);
    }
    let scope = request.form("scope")?;
    let first = scope.split_whitespace().next()?;
    first.strip_suffix("/.default").map(Into::into)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Method};

    use super::*;
    use crate::state::{DEFAULT_CLIENT, DEFAULT_SECRET, DEFAULT_TENANT};

    fn number(tenant: &str, form: &str) -> Result<String, u32> {
        let request = Incoming::new(
            Method::POST,
            &format!("/{tenant}/oauth2/v2.0/token"),
            "",
            HeaderMap::new(),
            form.to_owned().into(),
        );
        claims(
            &mut World::with_defaults(),
            tenant,
            &request,
            "https://login",
            Timestamp::now(),
        )
        .map(|claims| claims.aud)
        .map_err(|refusal| refusal.number())
    }

    #[test]
    fn wrong_requests_for_tokens_are_refused() {
        let good = format!(
            "grant_type=client_credentials&client_id={DEFAULT_CLIENT}&client_secret={DEFAULT_SECRET}&scope=https://localhost:8443//.default openid"
        );
        assert_eq!(
            number(DEFAULT_TENANT, &good),
            Ok("https://localhost:8443/".into())
        );
        assert_eq!(
            number("contoso.onmicrosoft.com", &good),
            Ok("https://localhost:8443/".into())
        );
        assert_eq!(number("elsewhere", &good), Err(90002));
        assert_eq!(
            number(DEFAULT_TENANT, &good.replace(DEFAULT_SECRET, "x")),
            Err(7_000_215)
        );
        assert_eq!(
            number(DEFAULT_TENANT, &good.replace("client_id=3", "client_id=4")),
            Err(700_016)
        );
    }
}
