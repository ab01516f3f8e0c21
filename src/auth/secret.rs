//! Secrets: they sign and are compared, and never show.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes that nobody else knows. They do not show when they are printed.
#[derive(Clone)]
pub struct Secret {
    bytes: Box<[u8]>,
    /// The key, taken in once for all signatures.
    mac: Hmac<Sha256>,
}

/// A secret that could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeakSecret;

impl fmt::Display for WeakSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret has at least {} bytes", Secret::BYTES_MIN)
    }
}

impl std::error::Error for WeakSecret {}

impl Secret {
    /// RFC 7518 §3.2: a key for HMAC-SHA256 is at least as long as the hash.
    pub const BYTES_MIN: usize = 32;

    /// Takes a secret as it is written.
    ///
    /// # Errors
    /// [`WeakSecret`] for one of under [`Secret::BYTES_MIN`] bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, WeakSecret> {
        if bytes.len() < Self::BYTES_MIN {
            return Err(WeakSecret);
        }
        let mac = Hmac::new_from_slice(bytes).map_err(|_| WeakSecret)?;
        Ok(Self { bytes: bytes.into(), mac })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// HMAC-SHA256 of a text with this secret (RFC 2104).
    pub(super) fn sign(&self, text: &[u8]) -> [u8; 32] {
        self.mac.clone().chain_update(text).finalize().into_bytes().into()
    }

    /// Whether the text was signed so, in a time that does not tell how much of it is right.
    pub(super) fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        self.mac.clone().chain_update(text).verify_slice(signature).is_ok()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a text.
pub(super) fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_and_is_not_short() {
        let secret = Secret::new(b"0123456789abcdef0123456789abcdef").unwrap();
        assert!(!format!("{secret:?}").contains("0123"));
        assert_eq!(Secret::new(&[b'x'; 31]), Err(WeakSecret));
        assert_ne!(secret, Secret::new(&[b'x'; 32]).unwrap());
        assert_eq!(secret, secret.clone());
    }

    #[test]
    fn rfc4231_signatures_are_as_the_test_cases_say() {
        // Test case 6: a key longer than a block.
        let secret = Secret::new(&[0xaa; 131]).unwrap();
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let want = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        let hex: String = secret.sign(text).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, want);
        let mut signature = secret.sign(text);
        assert!(secret.verify(text, &signature));
        for at in 0..signature.len() {
            signature[at] ^= 1;
            assert!(!secret.verify(text, &signature), "byte {at}");
            signature[at] ^= 1;
            assert!(!secret.verify(text, &signature[..at]), "cut at {at}");
        }
    }
}
