//! Client certificates: an application proves who it is with an assertion that the private key of its certificate
//! signs (docs/azure-api.md 9.1).

use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use azure_core::base64::encode_url_safe;
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::Signer,
};
use serde_json::json;
use serverprotection_core::{
    Timestamp,
    azure_credential::certificate::Validity,
    azure_error::{AzureError, ErrorClass},
    jiff::SignedDuration,
};
use uuid::Uuid;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};
use zeroize::Zeroize;

use crate::identity::AssertionSource;

/// Microsoft recommends 5 to 10 minutes. Each token request signs another assertion.
const ASSERTION_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// A certificate of an application, with its private key. The key can neither be printed nor read back, and its memory
/// is cleared when it is dropped.
pub struct ClientCertificate {
    /// Where it was read from, for messages: `Secret team/azure`.
    origin: String,
    signer: Box<dyn Signer>,
    /// The SHA-256 digest of the certificate, by which Entra finds it.
    thumbprint: String,
    validity: Validity,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({}, {})", self.origin, self.thumbprint)
    }
}

/// Why a certificate or its key cannot be used. The texts continue "The key tls.crt of Secret ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientCertificateError {
    /// There is no PEM block `CERTIFICATE`.
    #[error("contains no certificate in PEM format")]
    NoCertificate,
    /// The first certificate cannot be parsed.
    #[error("contains a certificate that cannot be parsed")]
    UnreadableCertificate,
    /// There is no PEM block of a private key.
    #[error("contains no private key in PEM format")]
    NoKey,
    /// The key needs a passphrase.
    #[error("contains a private key that is encrypted with a passphrase")]
    EncryptedKey,
    /// It is no RSA key, or one of a length that is not secure. Entra accepts only RSA (docs/azure-api.md 9.1).
    #[error("contains a private key that is not an RSA key of 2048 to 8192 bits")]
    NotRsa,
    /// The key belongs to another certificate.
    #[error("contains a private key that does not belong to the first certificate")]
    OtherKey,
}

impl ClientCertificateError {
    /// Whether the problem is in the key, not in the certificate.
    pub const fn is_of_key(self) -> bool {
        !matches!(self, Self::NoCertificate | Self::UnreadableCertificate)
    }

    /// The code of the error, for conditions.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoCertificate | Self::UnreadableCertificate | Self::NoKey => "ClientCertificateUnreadable",
            Self::EncryptedKey => "ClientKeyEncrypted",
            Self::NotRsa => "ClientKeyNotRsa",
            Self::OtherKey => "ClientKeyMismatch",
        }
    }

    /// The error for users. `origin` is where both were read from, with a name for the certificate and for the key:
    /// `Secret team/azure`, `tls.crt`, `tls.key`.
    pub fn of(self, origin: &str, certificate: &str, key: &str) -> AzureError {
        let part = if self.is_of_key() { key } else { certificate };
        failure(self.code(), format!("The key {part} of {origin} {self}"))
    }
}

impl ClientCertificate {
    /// Reads the first certificate and the private key in PEM (PKCS #1 or PKCS #8). Further certificates are ignored:
    /// Entra knows the certificate itself, and does not ask for its issuers.
    ///
    /// # Errors
    ///
    /// If one of the two is missing, cannot be used, or does not belong to the other.
    pub fn from_pem(origin: &str, certificate: &[u8], key: &[u8]) -> Result<Self, ClientCertificateError> {
        use ClientCertificateError as Problem;
        let der = CertificateDer::from_pem_slice(certificate).map_err(|error| match error {
            pem::Error::NoItemsFound => Problem::NoCertificate,
            _ => Problem::UnreadableCertificate,
        })?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| Problem::UnreadableCertificate)?;
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|_| Problem::UnreadableCertificate)
        };
        let validity = Validity {
            from: time(parsed.validity().not_before)?,
            until: time(parsed.validity().not_after)?,
        };
        if is_encrypted(key) {
            return Err(Problem::EncryptedKey);
        }
        let mut key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Problem::NoKey)?;
        let signing = any_supported_type(&key);
        key.zeroize();
        let signing = signing.map_err(|_| Problem::NotRsa)?;
        if signing.algorithm() != SignatureAlgorithm::RSA {
            return Err(Problem::NotRsa);
        }
        let public = parsed.public_key().raw;
        if signing
            .public_key()
            .is_none_or(|of_key| of_key.as_ref() != public)
        {
            return Err(Problem::OtherKey);
        }
        let signer = signing.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]);
        Ok(Self {
            origin: origin.to_owned(),
            signer: signer.ok_or(Problem::NotRsa)?,
            thumbprint: encode_url_safe(digest(&SHA256, &der)),
            validity,
        })
    }

    /// From when until when it is valid.
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether it is the same certificate.
    pub fn is_same(&self, other: &Self) -> bool {
        self.thumbprint == other.thumbprint
    }

    /// Entra refuses a certificate outside of its validity, too, but its message does not say which one it is.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), AzureError> {
        let Validity { from, until } = self.validity;
        if now >= until {
            let message = format!("The client certificate in {} expired at {until}", self.origin);
            return Err(failure("ClientCertificateExpired", message));
        }
        if now < from {
            let message = format!(
                "The client certificate in {} is not valid before {from}",
                self.origin
            );
            return Err(failure("ClientCertificateNotYetValid", message));
        }
        Ok(())
    }

    /// A JSON web token in which the application says who it is, valid for one token endpoint and some minutes.
    fn assertion(&self, client_id: &str, token_endpoint: &str, now: Timestamp) -> Result<String, AzureError> {
        let begins = now.as_second();
        let header = json!({"typ": "JWT", "alg": "PS256", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": token_endpoint, "iss": client_id, "sub": client_id, "jti": Uuid::new_v4().to_string(),
            "iat": begins, "nbf": begins, "exp": begins + ASSERTION_LIFETIME.as_secs(),
        });
        let [header, claims] = [header, claims].map(|part| encode_url_safe(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.signer.sign(signed.as_bytes()).map_err(|error| {
            failure(
                "ClientCertificateUnreadable",
                format!("The private key in {} cannot sign: {error}", self.origin),
            )
        })?;
        Ok(format!("{signed}.{}", encode_url_safe(signature)))
    }
}

/// Both forms of a PEM file whose key needs a passphrase: PKCS #8, and the older form of OpenSSL.
fn is_encrypted(pem: &[u8]) -> bool {
    let contains = |text: &str| pem.windows(text.len()).any(|part| part == text.as_bytes());
    contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || contains("Proc-Type: 4,ENCRYPTED")
}

fn failure(code: &str, message: String) -> AzureError {
    AzureError {
        class: ErrorClass::Credential,
        code: code.into(),
        message,
        operation: String::new(),
        request_id: None,
        effect_unknown: false,
    }
}

/// The assertions of one application.
#[derive(Debug)]
pub(crate) struct CertificateAssertions {
    pub(crate) certificate: Arc<ClientCertificate>,
    pub(crate) client_id: String,
    /// `https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token`
    pub(crate) token_endpoint: String,
}

#[async_trait::async_trait]
impl AssertionSource for CertificateAssertions {
    async fn assertion(&self) -> Result<String, AzureError> {
        let now = Timestamp::now();
        self.certificate
            .assertion(&self.client_id, &self.token_endpoint, now)
    }
}

#[cfg(test)]
mod tests;
