//! Access tokens: signs them as Entra does, verifies them as ARM does.

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind, jwk::Jwk,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The claims of an application's access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The resource.
    pub aud: String,
    /// `https://sts.windows.net/{tenant}/`
    pub iss: String,
    /// Issued.
    pub iat: i64,
    /// Not before.
    pub nbf: i64,
    /// Expires.
    pub exp: i64,
    /// Client id.
    pub appid: String,
    /// `1` for a secret, `2` for an assertion.
    pub appidacr: String,
    /// Same as `iss` for applications.
    pub idp: String,
    /// `app`
    pub idtyp: String,
    /// Object id.
    pub oid: String,
    /// Object id.
    pub sub: String,
    /// Tenant.
    pub tid: String,
    /// Makes each token unique.
    pub uti: String,
    /// `1.0`
    pub ver: String,
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// Not issued by this emulator, or damaged.
    Invalid,
    /// Expired at this time (seconds since the epoch).
    Expired(i64),
}

/// Holds the signing key.
#[expect(missing_debug_implementations, reason = "it holds a private key")]
pub struct Signer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    key: Value,
}

const KEY_ID: &str = "azure-emulator";

impl Signer {
    /// Parses an RSA private key.
    ///
    /// # Errors
    ///
    /// Fails if `pem` is not an RSA private key in PEM.
    pub fn new(pem: &str) -> Result<Self, jsonwebtoken::errors::Error> {
        let encoding = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let jwk = Jwk::from_encoding_key(&encoding, Algorithm::RS256)?;
        let decoding = DecodingKey::from_jwk(&jwk)?;
        let mut key = serde_json::to_value(&jwk).unwrap_or_default();
        if let Some(key) = key.as_object_mut() {
            key.insert("kid".into(), json!(KEY_ID));
            key.insert("use".into(), json!("sig"));
        }
        Ok(Self {
            encoding,
            decoding,
            key,
        })
    }

    /// The key set for `jwks_uri`.
    pub fn keys(&self) -> Value {
        json!({"keys": [self.key]})
    }

    /// Signs claims.
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be serialized or signed.
    pub fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(KEY_ID.into());
        encode(&header, claims, &self.encoding)
    }

    /// Checks signature and expiry.
    ///
    /// # Errors
    ///
    /// Returns [`TokenProblem`] if the token has an invalid signature or form, or is expired.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenProblem> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_aud = false;
        validation.leeway = 0;
        match decode::<Claims>(token, &self.decoding, &validation) {
            Ok(token) => Ok(token.claims),
            Err(error) if *error.kind() == ErrorKind::ExpiredSignature => {
                let claims = jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(token);
                Err(TokenProblem::Expired(
                    claims.map(|claims| claims.exp).unwrap_or_default(),
                ))
            }
            Err(_) => Err(TokenProblem::Invalid),
        }
    }
}
