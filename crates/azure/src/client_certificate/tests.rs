use std::time::Duration;

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use azure_core::base64::decode_url_safe;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::Value;

use super::{ClientCertificateError as Problem, *};

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

/// A certificate that is valid from the year 2020 until the year 2030.
fn certificate(key: &KeyPair) -> rcgen::Certificate {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params.self_signed(key).unwrap()
}

fn read(certificate: &str, key: &str) -> Result<ClientCertificate, ClientCertificateError> {
    ClientCertificate::from_pem("Secret team/azure", certificate.as_bytes(), key.as_bytes())
}

fn in_year(year: i64) -> Timestamp {
    Timestamp::from_second((year - 1970) * 31_557_600 + 864_000).unwrap()
}

#[test]
fn an_assertion_names_the_application_the_endpoint_and_the_certificate() {
    let key = rsa();
    let issued = certificate(&key);
    let read = read(&issued.pem(), &key.serialize_pem()).unwrap();
    let now = in_year(2026);
    let assertion = read
        .assertion("client", "https://login/tenant/oauth2/v2.0/token", now)
        .unwrap();

    let parts: Vec<_> = assertion.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        panic!("{assertion}")
    };
    let json = |part: &str| -> Value { serde_json::from_slice(&decode_url_safe(part).unwrap()).unwrap() };
    let thumbprint = encode_url_safe(digest(&SHA256, issued.der()));
    assert_eq!(
        json(header),
        json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint})
    );
    let claims_of = json(claims);
    assert_eq!(claims_of["aud"], "https://login/tenant/oauth2/v2.0/token");
    assert_eq!(
        (&claims_of["iss"], &claims_of["sub"]),
        (&json!("client"), &json!("client"))
    );
    assert_eq!(claims_of["nbf"], now.as_second());
    assert_eq!(claims_of["exp"], now.as_second() + 300);

    let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public_key_raw());
    let signed = format!("{header}.{claims}");
    public
        .verify(signed.as_bytes(), &decode_url_safe(signature).unwrap())
        .unwrap();
    let other = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, rsa().public_key_raw().to_vec());
    other
        .verify(signed.as_bytes(), &decode_url_safe(signature).unwrap())
        .unwrap_err();

    let next = read
        .assertion("client", "https://login/tenant/oauth2/v2.0/token", now)
        .unwrap();
    assert_ne!(json(next.split('.').nth(1).unwrap())["jti"], claims_of["jti"]);
}

#[test]
fn what_cannot_be_used_is_named() {
    let (key, other, elliptic) = (rsa(), rsa(), KeyPair::generate().unwrap());
    let (crt, pem) = (certificate(&key).pem(), key.serialize_pem());
    let chain = format!("{}{crt}", certificate(&other).pem());
    let encrypted = pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let openssl = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (certificate, key, problem) in [
        ("", pem.as_str(), Problem::NoCertificate),
        (pem.as_str(), pem.as_str(), Problem::NoCertificate),
        (garbage, pem.as_str(), Problem::UnreadableCertificate),
        (&crt, "", Problem::NoKey),
        (&crt, &crt, Problem::NoKey),
        (&crt, &encrypted, Problem::EncryptedKey),
        (&crt, openssl, Problem::EncryptedKey),
        (
            &certificate(&elliptic).pem(),
            &elliptic.serialize_pem(),
            Problem::NotRsa,
        ),
        (&crt, &other.serialize_pem(), Problem::OtherKey),
        // The issuer first.
        (&chain, &pem, Problem::OtherKey),
    ] {
        let found = read(certificate, key).map(drop).unwrap_err();
        assert_eq!(found, problem);
        let error = found.of("Secret team/azure", "tls.crt", "tls.key");
        let part = if found.is_of_key() {
            "The key tls.key of"
        } else {
            "The key tls.crt of"
        };
        let text = error.to_message().to_string();
        assert!(
            text.starts_with(&format!("{part} Secret team/azure contains")),
            "{text}"
        );
        assert!(error.hint().is_some_and(|hint| text.contains(hint)), "{text}");
    }
    let chain = format!("{crt}{}", certificate(&other).pem());
    assert!(read(&chain, &pem).is_ok(), "its issuer follows");
}

#[test]
fn a_certificate_is_used_within_its_validity_only() {
    let key = rsa();
    let read = read(&certificate(&key).pem(), &key.serialize_pem()).unwrap();
    assert_eq!(read.check(in_year(2026)), Ok(()));
    assert_eq!(read.validity().until.to_string(), "2030-01-01T00:00:00Z");
    for (now, code, text) in [
        (
            in_year(2019),
            "ClientCertificateNotYetValid",
            "The client certificate in Secret team/azure is not valid before 2020-01-01T00:00:00Z",
        ),
        (
            read.validity().until,
            "ClientCertificateExpired",
            "The client certificate in Secret team/azure expired at 2030-01-01T00:00:00Z",
        ),
    ] {
        let failure = read.check(now).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.message.as_str()), (code, text));
        assert_eq!(failure.class, ErrorClass::Credential);
    }
    assert_eq!(read.check(read.validity().until - Duration::from_secs(1)), Ok(()));
}

#[test]
fn neither_key_nor_certificate_are_printed() {
    let key = rsa();
    let pem = key.serialize_pem();
    let read = read(&certificate(&key).pem(), &pem).unwrap();
    let shown = format!("{read:?}");
    assert_eq!(
        shown,
        format!("ClientCertificate(Secret team/azure, {})", read.thumbprint)
    );
    assert!(read.is_same(&read));
    let renewed = self::read(&certificate(&rsa()).pem(), &pem);
    assert_eq!(renewed.map(drop), Err(ClientCertificateError::OtherKey));
}
