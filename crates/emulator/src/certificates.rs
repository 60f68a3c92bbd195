//! The emulator's own certificate authority, kept in a directory so that clients trust it once.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};

/// What the server needs for TLS, and where clients find the CA.
#[derive(Debug)]
pub struct Certificates {
    /// Leaf certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// The CA, PEM.
    pub ca: String,
    /// Key for access tokens (RSA), PEM.
    pub token_key: String,
}

/// An error of keys or their files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The directory could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or directory.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A key or certificate could not be generated or parsed.
    #[error("certificates: {0}")]
    Key(#[from] rcgen::Error),
}

/// Loads or generates the CA and the token key in `directory`, and signs a new leaf certificate for `names`.
///
/// # Errors
///
/// Fails if the directory cannot be read or written, or if a key or certificate in it is invalid.
pub fn prepare(directory: &Path, more_names: &[String]) -> Result<Certificates, CertificateError> {
    fs::create_dir_all(directory).map_err(|source| file(directory, source))?;
    let ca_key = key(&directory.join("ca-key.pem"), KeyPair::generate)?;
    let ca_path = directory.join("ca.pem");
    let ca = if let Some(ca) = read(&ca_path)? {
        ca
    } else {
        let ca = authority().self_signed(&ca_key)?.pem();
        write(&ca_path, &ca)?;
        ca
    };
    let token_key = key(&directory.join("token-key.pem"), || {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
    })?;

    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(Into::into).to_vec();
    names.extend_from_slice(more_names);
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name = named("azure-emulator");
    // Python 3.13 and later reject a leaf certificate without it.
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf_key = KeyPair::generate()?;
    // The CA's name and key never change, so its parameters need not be read back from the file.
    let authority = authority();
    let issuer = Issuer::from_params(&authority, &ca_key);
    let certificate = leaf.signed_by(&leaf_key, &issuer)?.pem();
    Ok(Certificates {
        certificate,
        key: leaf_key.serialize_pem(),
        ca,
        token_key: token_key.serialize_pem(),
    })
}

fn authority() -> CertificateParams {
    let mut ca = CertificateParams::default();
    ca.distinguished_name = named("azure-emulator CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    ca
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn key(
    path: &Path,
    make: impl FnOnce() -> Result<KeyPair, rcgen::Error>,
) -> Result<KeyPair, CertificateError> {
    if let Some(pem) = read(path)? {
        return Ok(KeyPair::from_pem(&pem)?);
    }
    let key = make()?;
    write(path, &key.serialize_pem())?;
    Ok(key)
}

fn read(path: &Path) -> Result<Option<String>, CertificateError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file(path, source)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), CertificateError> {
    fs::write(path, text).map_err(|source| file(path, source))
}

fn file(path: &Path, source: std::io::Error) -> CertificateError {
    CertificateError::File {
        path: path.display().to_string(),
        source,
    }
}
