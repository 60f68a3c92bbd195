//! Client assertions that an application signs with the key of its certificate.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{Timestamp, tz::TimeZone};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::refusal::Refusal;
use crate::state::{KeyCredential, Principal};

const DOCUMENTATION: &str = "Review the documentation at \
                             https://learn.microsoft.com/entra/identity-platform/certificate-credentials";
/// How far the clocks of a client and of Entra may be apart.
const SKEW: i64 = 300;

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: String,
    #[serde(default)]
    jti: String,
    #[serde(default)]
    nbf: i64,
    #[serde(default)]
    exp: i64,
}

/// An assertion that was accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Makes the assertion unique.
    pub(super) id: String,
    /// When it expires.
    pub(super) expires: i64,
}

/// The thumbprint by which an assertion names its certificate: SHA-256, or SHA-1 from older clients. An assertion of
/// another issuer names none.
pub(super) fn thumbprint(header: &Header) -> Option<&str> {
    header.x5t_s256.as_deref().or(header.x5t.as_deref())
}

/// Checks an assertion as Entra does: certificate, signature, validity of the certificate, application, audience and
/// lifetime. `endpoints` are the accepted values of the audience.
pub(super) fn check(
    assertion: &str,
    header: &Header,
    principal: &Principal,
    endpoints: &[String],
    now: i64,
) -> Result<Accepted, Refusal> {
    let thumbprint = thumbprint(header).unwrap_or_default();
    let shown = URL_SAFE_NO_PAD.decode(thumbprint).map(hex).unwrap_or_default();
    let known = principal.key_credentials.iter().filter_map(Key::parse);
    let invalid = |reason: &str, found: &str| {
        Refusal::client(
            700_027,
            format!(
                "Client assertion contains an invalid signature. [Reason - {reason}, Thumbprint of key used by \
                 client: '{shown}', {found}Please visit the Azure Portal, Graph Explorer or directly use MS Graph \
                 to see configured keys for app Id '{}'.",
                principal.client_id
            ),
        )
    };
    let Some(key) = known
        .into_iter()
        .find(|key| key.thumbprints.iter().any(|known| known == thumbprint))
    else {
        return Err(invalid("The key was not found.", ""));
    };
    if key.revoked {
        return Err(Refusal::client(7_000_214, "Certificate has been revoked."));
    }
    let found = format!("Found key 'Start={}, End={}', ", date(key.begins), date(key.ends));
    let mut validation = Validation::new(header.alg);
    validation.validate_aud = false;
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let acceptable = matches!(header.alg, Algorithm::PS256 | Algorithm::RS256);
    let decoded = decode::<Claims>(assertion, &DecodingKey::from_rsa_der(&key.public), &validation);
    let claims = match decoded {
        Ok(decoded) if acceptable => decoded.claims,
        _ => {
            let reason = "The provided signature value did not match the expected signature value.";
            return Err(invalid(reason, &found));
        }
    };
    if key.ends <= now {
        return Err(invalid("The key used is expired.", &found));
    }
    if key.begins > now {
        return Err(Refusal::client(
            1_000_502,
            "The provided certificate is not within its specified validity window.",
        ));
    }
    if [&claims.iss, &claims.sub]
        .iter()
        .any(|name| !name.eq_ignore_ascii_case(&principal.client_id))
    {
        return Err(Refusal::client(
            700_021,
            format!(
                "Client assertion application identifier doesn't match 'client_id' parameter. {DOCUMENTATION}."
            ),
        ));
    }
    if !endpoints.contains(&claims.aud) {
        return Err(Refusal::client(
            700_023,
            format!("Client assertion audience claim does not match Realm issuer. {DOCUMENTATION}."),
        ));
    }
    if claims.exp <= now || claims.nbf > now + SKEW {
        return Err(Refusal::client(
            700_024,
            format!(
                "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, \
                 expiry time of assertion {}. {DOCUMENTATION}.",
                instant(now),
                instant(claims.nbf),
                instant(claims.exp)
            ),
        ));
    }
    Ok(Accepted {
        id: claims.jti,
        expires: claims.exp,
    })
}

/// A certificate as Entra stores it.
struct Key {
    /// SHA-256 and SHA-1, as assertions write them.
    thumbprints: [String; 2],
    /// The RSA key, PKCS #1.
    public: Vec<u8>,
    begins: i64,
    ends: i64,
    revoked: bool,
}

impl Key {
    fn parse(stored: &KeyCredential) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(stored.certificate_pem.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let thumbprints = [&SHA256, &SHA1_FOR_LEGACY_USE_ONLY]
            .map(|algorithm| URL_SAFE_NO_PAD.encode(digest(algorithm, &der)));
        Some(Self {
            thumbprints,
            public: certificate.public_key().subject_public_key.data.to_vec(),
            begins: certificate.validity().not_before.timestamp(),
            ends: certificate.validity().not_after.timestamp(),
            revoked: stored.revoked,
        })
    }
}

fn hex(bytes: Vec<u8>) -> String {
    let digits = bytes.into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    digits.map(|digit| digit.to_ascii_uppercase()).collect()
}

fn date(second: i64) -> String {
    let at = Timestamp::from_second(second)
        .unwrap_or_default()
        .to_zoned(TimeZone::UTC);
    at.strftime("%m/%d/%Y %H:%M:%S").to_string()
}

fn instant(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, encode};
    use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
    use serde_json::{Value, json};

    use super::*;

    const ENDPOINT: &str = "https://login/tenant/oauth2/v2.0/token";

    fn certificate(key: &KeyPair, first: i32, last: i32) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(first, 1, 1);
        params.not_after = rcgen::date_time_ymd(last, 1, 1);
        params.self_signed(key).unwrap()
    }

    fn rsa() -> KeyPair {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
    }

    fn signed(header: &Header, change: &Value, key: &KeyPair) -> String {
        let mut claims = json!({"iss": "client", "sub": "client", "aud": ENDPOINT, "jti": "1", "nbf": 1_700_000_000,
            "exp": 1_700_000_300});
        let members = claims.as_object_mut().unwrap();
        members.extend(change.as_object().unwrap().clone());
        let key = EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap();
        encode(header, &claims, &key).unwrap()
    }

    #[test]
    fn an_assertion_is_verified_against_the_registered_certificate() {
        let (key, other) = (rsa(), rsa());
        let (current, old, future) = (
            certificate(&key, 2020, 2030),
            certificate(&key, 2010, 2020),
            certificate(&key, 2025, 2030),
        );
        let revoked = certificate(&key, 2019, 2031);
        let mut principal = Principal::new("client", "tenant");
        for (certificate, revoked) in [
            (&current, false),
            (&old, false),
            (&future, false),
            (&revoked, true),
        ] {
            principal.key_credentials.push(KeyCredential {
                certificate_pem: certificate.pem(),
                revoked,
            });
        }
        let named = |algorithm, certificate: &rcgen::Certificate| {
            let mut header = Header::new(algorithm);
            header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate.der())));
            header
        };
        let good = named(Algorithm::PS256, &current);
        let mut sha1 = Header::new(Algorithm::RS256);
        sha1.x5t = Some(URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, current.der())));
        let unknown = named(Algorithm::PS256, &certificate(&other, 2020, 2030));
        let same = json!({});
        for (header, change, signer, number) in [
            (&good, &same, &key, None),
            (&sha1, &same, &key, None),
            (&unknown, &same, &other, Some(700_027)),
            (&good, &same, &other, Some(700_027)),
            (&named(Algorithm::PS512, &current), &same, &key, Some(700_027)),
            (&named(Algorithm::PS256, &old), &same, &key, Some(700_027)),
            (&named(Algorithm::PS256, &future), &same, &key, Some(1_000_502)),
            (&named(Algorithm::PS256, &revoked), &same, &key, Some(7_000_214)),
            (&good, &json!({"iss": "x"}), &key, Some(700_021)),
            (&good, &json!({"sub": "x"}), &key, Some(700_021)),
            (
                &good,
                &json!({"aud": "https://login/tenant"}),
                &key,
                Some(700_023),
            ),
            (&good, &json!({"exp": 1_700_000_000}), &key, Some(700_024)),
            (&good, &json!({"nbf": 1_700_000_400}), &key, Some(700_024)),
            (&good, &json!({"nbf": 1_700_000_200}), &key, None),
        ] {
            let assertion = signed(header, change, signer);
            let endpoints = [ENDPOINT.to_owned()];
            let found = check(&assertion, header, &principal, &endpoints, 1_700_000_000);
            assert_eq!(
                found.err().map(|refusal| refusal.number()),
                number,
                "{change} {header:?}"
            );
        }
    }

    #[test]
    fn the_text_names_the_thumbprint_and_the_stored_key() {
        let key = rsa();
        let old = certificate(&key, 2010, 2020);
        let mut principal = Principal::new("client", "tenant");
        principal.key_credentials.push(KeyCredential {
            certificate_pem: old.pem(),
            revoked: false,
        });
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(digest(&SHA256, old.der())));
        let assertion = signed(&header, &json!({}), &key);
        let refusal = check(&assertion, &header, &principal, &[], 1_700_000_000).unwrap_err();
        let text = format!("{refusal:?}");
        assert!(text.contains("The key used is expired."), "{text}");
        assert!(
            text.contains("Start=01/01/2010 00:00:00, End=01/01/2020 00:00:00"),
            "{text}"
        );
    }
}
