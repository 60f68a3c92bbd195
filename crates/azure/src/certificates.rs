//! Verifies the certificates of servers like the system does, and names the issuer of one that is not trusted: behind
//! a proxy that decrypts, only its name shows which authority is missing.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::Verifier;
use serverprotection_core::azure_error::{CERTIFICATE_INVALID, CERTIFICATE_NOT_TRUSTED};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// A TLS configuration that trusts the roots of the system and these.
///
/// # Errors
///
/// If one of `extra_roots` is not a certificate, or the roots of the system cannot be loaded.
pub(crate) fn tls_config(extra_roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let installed = CryptoProvider::get_default().map(Arc::clone);
    let provider = installed.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let verifier = Verifier::new_with_extra_roots(extra_roots, Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NamingVerifier(Arc::new(verifier))))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The system's verifier. Its error is replaced by one that names the issuer.
#[derive(Debug)]
struct NamingVerifier(Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for NamingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(cause) => {
                let host = server_name.to_str().into_owned();
                Error::Other(OtherError(Arc::new(RefusedCertificate {
                    host,
                    issuer: issuer(end_entity),
                    fault: Fault::of(&cause),
                })))
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The certificate of a server was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedCertificate {
    host: String,
    /// The distinguished name of its issuer; `None` if the certificate cannot be parsed.
    issuer: Option<String>,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NotTrusted,
    Expired,
    NotYetValid,
    OtherHost,
    Other,
}

impl Fault {
    fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::NotTrusted,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherHost
            }
            _ => Self::Other,
        }
    }
}

impl RefusedCertificate {
    pub(crate) const fn code(&self) -> &'static str {
        match self.fault {
            Fault::NotTrusted => CERTIFICATE_NOT_TRUSTED,
            _ => CERTIFICATE_INVALID,
        }
    }
}

impl fmt::Display for RefusedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.fault {
            Fault::NotTrusted => "was not issued by a trusted certificate authority",
            Fault::Expired => "has expired",
            Fault::NotYetValid => "is not valid yet",
            Fault::OtherHost => "is for another host",
            Fault::Other => "cannot be verified",
        };
        let issuer = self.issuer.as_deref().unwrap_or("unknown");
        write!(f, "the certificate of {} {problem} (issuer: {issuer})", self.host)
    }
}

impl std::error::Error for RefusedCertificate {}

/// The refusal behind an error of a request, if a certificate was the cause.
pub(crate) fn refused<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a RefusedCertificate> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(refused) = current.downcast_ref::<RefusedCertificate>() {
            return Some(refused);
        }
        if let Some(Error::Other(OtherError(inner))) = current.downcast_ref::<Error>() {
            return inner.downcast_ref::<RefusedCertificate>();
        }
        // The source of an `io::Error` is that of the error that it wraps.
        let wrapped = current
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => current.source(),
        };
    }
    None
}

fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.issuer().to_string())
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, net::TcpListener, thread};

    use rustls::{ServerConfig, ServerConnection, pki_types::PrivateKeyDer};

    use super::*;
    use crate::{error_response::unreachable, http_client};

    /// Answers one TLS handshake with a certificate that it signed itself. Returns its address and the certificate.
    fn server(name: &str) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = rustls::Stream::new(&mut connection, &mut socket);
            // Ends with the connection.
            let _ = stream.read(&mut [0; 1024]);
        });
        (address, certificate.pem())
    }

    #[tokio::test]
    async fn the_issuer_of_a_certificate_that_is_not_trusted_is_named() {
        let (address, pem) = server("Proxy of Contoso");
        let client = http_client(None).unwrap();
        let error = client
            .get(format!("https://{address}/"))
            .send()
            .await
            .unwrap_err();
        let failure = unreachable::transport(true, "PUT x", &error);
        assert_eq!(failure.code, CERTIFICATE_NOT_TRUSTED, "{failure}");
        assert!(failure.message.contains("CN=Proxy of Contoso"), "{failure}");
        assert!(!failure.effect_unknown, "nothing was sent");
        assert!(failure.hint().unwrap().contains("--extra-ca"));

        // The same with its authority: the server hangs up after the handshake.
        let (address, other) = server("Proxy of Contoso");
        let trusting = http_client(Some(other.as_bytes())).unwrap();
        let error = trusting
            .get(format!("https://{address}/"))
            .send()
            .await
            .unwrap_err();
        assert_eq!(refused(&error), None);

        // An authority of the same name with another key.
        let (address, _) = server("Proxy of Contoso");
        let client = http_client(Some(pem.as_bytes())).unwrap();
        let error = client
            .get(format!("https://{address}/"))
            .send()
            .await
            .unwrap_err();
        assert_eq!(refused(&error).unwrap().code(), CERTIFICATE_NOT_TRUSTED);
    }

    /// A private cloud may have one authority for Entra and another one for Azure Resource Manager.
    #[tokio::test]
    async fn every_authority_of_a_bundle_is_trusted() {
        let (entra, resource_manager) = (server("Entra CA"), server("Resource Manager CA"));
        let bundle = format!("# the private cloud\n{}\n{}", entra.1, resource_manager.1);
        let client = http_client(Some(bundle.as_bytes())).unwrap();
        for (address, _) in [entra, resource_manager] {
            let request = client.get(format!("https://{address}/"));
            // The server hangs up after the handshake.
            let error = request.send().await.unwrap_err();
            assert_eq!(refused(&error), None, "{address}");
        }
    }

    #[test]
    fn an_extra_ca_that_is_no_certificate_is_an_error() {
        assert!(
            http_client(Some(
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
            ))
            .is_err()
        );
        assert!(
            http_client(Some(
                b"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"
            ))
            .is_err()
        );
    }

    #[test]
    fn only_a_missing_authority_can_be_added() {
        for (error, code, words) in [
            (
                CertificateError::UnknownIssuer,
                CERTIFICATE_NOT_TRUSTED,
                "trusted certificate authority",
            ),
            // An authority with the same name and another key.
            (
                CertificateError::BadSignature,
                CERTIFICATE_NOT_TRUSTED,
                "trusted certificate authority",
            ),
            (CertificateError::Expired, CERTIFICATE_INVALID, "has expired"),
            (
                CertificateError::NotValidForName,
                CERTIFICATE_INVALID,
                "another host",
            ),
            (
                CertificateError::Revoked,
                CERTIFICATE_INVALID,
                "cannot be verified",
            ),
        ] {
            let refused = RefusedCertificate {
                host: "h".into(),
                issuer: Some("CN=Proxy CA".into()),
                fault: Fault::of(&error),
            };
            assert_eq!(refused.code(), code);
            let text = refused.to_string();
            assert!(
                text.contains(words) && text.ends_with("(issuer: CN=Proxy CA)"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_refusal_is_found_behind_other_errors() {
        let refusal = RefusedCertificate {
            host: "h".into(),
            issuer: None,
            fault: Fault::Expired,
        };
        let tls = Error::Other(OtherError(Arc::new(refusal.clone())));
        let wrapped = std::io::Error::other(std::io::Error::other(tls));
        assert_eq!(refused(&wrapped), Some(&refusal));
        assert_eq!(refused(&std::io::Error::other("x")), None);
        assert_eq!(refused(&Error::HandshakeNotComplete), None);
    }
}
