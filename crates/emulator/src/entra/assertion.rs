//! Client assertions: tokens of another issuer (a Kubernetes cluster) that an application trusts.

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, JwkSet},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use crate::state::{FederatedCredential, Principal};

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    exp: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
    #[default]
    None,
}

impl Audience {
    fn contains(&self, expected: &str) -> bool {
        match self {
            Self::One(one) => one == expected,
            Self::Many(many) => many.iter().any(|one| one == expected),
            Self::None => false,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::One(one) => one.clone(),
            Self::Many(many) => many.join(", "),
            Self::None => String::new(),
        }
    }
}

/// What distinguishes an assertion from others, for the log: its id, and the certificate that signed it.
pub fn named(assertion: &str) -> Value {
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(assertion).unwrap_or_default();
    let header = decode_header(assertion).ok();
    let thumbprint = header.and_then(|header| header.x5t_s256.or(header.x5t));
    json!({"jti": claims.get("jti"), "x5t#S256": thumbprint})
}

/// Checks an assertion against an application's federated credentials: issuer, subject, audience, expiry
/// and signature.
pub(super) fn check(assertion: &str, principal: &Principal, now: i64) -> Result<(), Refusal> {
    let (Ok(header), Ok(claims)) = (
        decode_header(assertion),
        jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(assertion),
    ) else {
        return Err(Refusal::client(50027, "JWT token is invalid or malformed."));
    };
    let credential = matching(&claims, principal)?;
    let keys = keys(credential, header.kid.as_deref());
    let mut validation = Validation::new(header.alg);
    validation.validate_aud = false;
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let signed = keys
        .iter()
        .any(|key| decode::<Claims>(assertion, key, &validation).is_ok());
    let acceptable = matches!(header.alg, Algorithm::RS256 | Algorithm::ES256);
    if !acceptable || !signed {
        let detail = match keys
            .first()
            .map(|key| decode::<Claims>(assertion, key, &validation))
        {
            Some(Err(error)) if *error.kind() == ErrorKind::InvalidSignature => {
                "signature verification failed"
            }
            _ => "no key of the issuer fits",
        };
        return Err(Refusal::client(
            50027,
            format!("JWT token is invalid or malformed: {detail}."),
        ));
    }
    if claims.exp <= now {
        return Err(Refusal::client(
            700_024,
            "Client assertion is not within its valid time range.\r\nCurrent time, expiry time of assertion: \
             please check that the clocks agree.",
        ));
    }
    Ok(())
}

/// The credential with this issuer, subject and audience, or the error that names the mismatch.
fn matching<'a>(claims: &Claims, principal: &'a Principal) -> Result<&'a FederatedCredential, Refusal> {
    let same_issuer: Vec<_> = principal
        .federated_credentials
        .iter()
        .filter(|known| known.issuer == claims.iss)
        .collect();
    if same_issuer.is_empty() {
        return Err(Refusal::client(
            700_211,
            format!(
                "No matching federated identity record found for presented assertion issuer '{}'. Please note \
                 that the matching is done using a case-sensitive comparison.",
                claims.iss
            ),
        ));
    }
    let same_subject: Vec<_> = same_issuer
        .into_iter()
        .filter(|known| known.subject == claims.sub)
        .collect();
    let Some(first) = same_subject.first() else {
        return Err(Refusal::client(
            700_213,
            format!(
                "No matching federated identity record found for presented assertion subject '{}'. Check your \
                 federated identity credential Subject, Audience and Issuer against the presented assertion.",
                claims.sub
            ),
        ));
    };
    if !first
        .audiences
        .iter()
        .any(|audience| claims.aud.contains(audience))
    {
        return Err(Refusal::client(
            700_212,
            format!(
                "No matching federated identity record found for presented assertion audience '{}'. Please note \
                 that the matching is done using a case-sensitive comparison.",
                claims.aud.shown()
            ),
        ));
    }
    Ok(first)
}

fn keys(credential: &FederatedCredential, id: Option<&str>) -> Vec<DecodingKey> {
    let mut keys = Vec::new();
    if let Some(pem) = &credential.public_key_pem {
        keys.extend(DecodingKey::from_ec_pem(pem.as_bytes()).ok());
        keys.extend(DecodingKey::from_rsa_pem(pem.as_bytes()).ok());
    }
    if let Some(set) = &credential.jwks
        && let Ok(set) = serde_json::from_value::<JwkSet>(set.clone())
    {
        let fits =
            |key: &&Jwk| id.is_none() || key.common.key_id.is_none() || key.common.key_id.as_deref() == id;
        keys.extend(
            set.keys
                .iter()
                .filter(fits)
                .filter_map(|key| DecodingKey::from_jwk(key).ok()),
        );
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};

    fn principal(pem: &str) -> Principal {
        let mut principal = Principal::new("client", "tenant");
        principal.federated_credentials.push(FederatedCredential {
            issuer: "https://kubernetes.local".into(),
            subject: "system:serviceaccount:a:b".into(),
            audiences: vec!["api://AzureADTokenExchange".into()],
            public_key_pem: Some(pem.into()),
            jwks: None,
        });
        principal
    }

    #[test]
    fn an_assertion_needs_issuer_subject_audience_expiry_and_signature() {
        let key = rcgen::KeyPair::generate().unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        let principal = principal(&key.public_key_pem());
        let good = json!({"iss": "https://kubernetes.local", "sub": "system:serviceaccount:a:b",
                          "aud": ["api://AzureADTokenExchange"], "exp": 2000});
        let signed = |change: &serde_json::Value, key: &rcgen::KeyPair| {
            let mut claims = good.clone();
            claims
                .as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
            encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
        };
        let number = |assertion: &str| check(assertion, &principal, 1000).map_err(|refusal| refusal.number());
        assert_eq!(number(&signed(&json!({}), &key)), Ok(()));
        assert_eq!(number(&signed(&json!({"iss": "https://x"}), &key)), Err(700_211));
        assert_eq!(number(&signed(&json!({"sub": "x"}), &key)), Err(700_213));
        assert_eq!(number(&signed(&json!({"aud": "x"}), &key)), Err(700_212));
        assert_eq!(number(&signed(&json!({"exp": 999}), &key)), Err(700_024));
        assert_eq!(number(&signed(&json!({}), &other)), Err(50027));
        assert_eq!(number("a.b.c"), Err(50027));
    }
}
