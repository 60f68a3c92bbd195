//! Client certificates of Azure applications, as an authority such as cert-manager issues them.

use k8s_openapi::jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::error::Error;

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct ClientCertificate {
    /// `tls.crt`
    pub certificate: String,
    /// `tls.key`
    pub key: String,
}

impl ClientCertificate {
    /// An RSA certificate that is valid between two times, in seconds from now. Certificates have whole seconds.
    pub fn valid(from: i64, until: i64) -> Result<Self, Error> {
        let key =
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(|error| failed(&error))?;
        Self::with_key(&key, from, until)
    }

    /// The same with an elliptic curve.
    pub fn elliptic() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        Self::with_key(&key, 0, 3600)
    }

    fn with_key(key: &KeyPair, from: i64, until: i64) -> Result<Self, Error> {
        // The date type of rcgen is of a crate that has no other use here.
        let midnight = rcgen::date_time_ymd(1970, 1, 1);
        let now = Timestamp::now().as_second();
        let at = |second: i64| {
            let since = std::time::Duration::from_secs((now + second).unsigned_abs());
            midnight + since
        };
        let mut params = CertificateParams::default();
        params.not_before = at(from);
        params.not_after = at(until);
        let certificate = params.self_signed(key).map_err(|error| failed(&error))?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn failed(error: &rcgen::Error) -> Error {
    Error::Other(format!("generate a certificate: {error}"))
}
