//! The cryptography under `jsonwebtoken`, which has none of its own here: HS256 with `hmac`, RS256 and ES256 with `ring`.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use sha2::Sha256;
use signature::Verifier;

/// Sees to it that `jsonwebtoken` verifies with what stands here.
///
/// It has one provider per process. An application that uses it for more than the server does installs its own
/// before it makes a gate, and that one is used.
pub(super) fn install() {
    PROVIDER.install_default().unwrap_or_default();
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // The server reads no keys in JSON; who asks for that is told so, instead of a panic.
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(unsupported()),
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: |_, _| Err(unsupported()),
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: |_, _| Err(unsupported()),
    },
};

fn unsupported() -> Error {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

/// The server signs no tokens.
fn signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(unsupported())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    // A public key is no secret: with one for the other, anybody could sign.
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    let bytes = key.try_get_as_bytes()?;
    match algorithm {
        Algorithm::HS256 => {
            let mac = Hmac::new_from_slice(bytes).map_err(|_| new_error(ErrorKind::InvalidKeyFormat))?;
            Ok(Box::new(Hs256(mac)))
        }
        #[cfg(feature = "jwt-asymmetric")]
        Algorithm::RS256 | Algorithm::ES256 => {
            Ok(Box::new(asymmetric::PublicKey { algorithm: *algorithm, bytes: bytes.to_vec() }))
        }
        _ => Err(unsupported()),
    }
}

struct Hs256(Hmac<Sha256>);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let mac = self.0.clone().chain_update(message);
        mac.verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(feature = "jwt-asymmetric")]
mod asymmetric {
    use super::{Algorithm, JwtVerifier, Verifier};
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    };

    pub(super) struct PublicKey {
        pub(super) algorithm: Algorithm,
        pub(super) bytes: Vec<u8>,
    }

    impl Verifier<Vec<u8>> for PublicKey {
        fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
            let algorithm: &'static dyn VerificationAlgorithm = match self.algorithm {
                Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
                _ => &ECDSA_P256_SHA256_FIXED,
            };
            let key = UnparsedPublicKey::new(algorithm, &self.bytes);
            key.verify(message, signature).map_err(|_| signature::Error::new())
        }
    }

    impl JwtVerifier for PublicKey {
        fn algorithm(&self) -> Algorithm {
            self.algorithm
        }
    }
}
