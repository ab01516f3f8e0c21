//! Static bearer tokens, for machines. Only their hashes are kept.

use std::sync::Arc;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::Proof;
use super::rights::Access;
use super::secret::digest;

/// A token and who shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticToken {
    hash: [u8; 32],
    user: Arc<str>,
    own: Option<Arc<[Access]>>,
}

impl StaticToken {
    /// A token by its SHA-256, with rights of its own that go before the grants, if any.
    pub fn from_hash(hash: [u8; 32], user: &str, own: Option<Vec<Access>>) -> Self {
        Self { hash, user: user.into(), own: own.map(Into::into) }
    }

    /// A token as it is shown.
    pub fn from_text(token: &[u8], user: &str, own: Option<Vec<Access>>) -> Self {
        Self::from_hash(digest(token), user, own)
    }

    /// Whether two entries are the same token.
    pub fn is_same(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

/// Who shows this token. The time does not depend on which one it is, or how much of one is right.
pub(super) fn find(tokens: &[StaticToken], shown: &str) -> Option<Proof> {
    let hash = digest(shown.as_bytes());
    let mut found = u64::MAX;
    for (number, token) in (0..).zip(tokens) {
        let is_it: Choice = token.hash.ct_eq(&hash);
        found = u64::conditional_select(&found, &number, is_it);
    }
    let token = tokens.get(usize::try_from(found).ok()?)?;
    Some(Proof { user: token.user.clone(), expires_ms: None, own: token.own.clone(), token_id: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_all_of_its_bytes_and_by_nothing_else() {
        let known = ["builder-3f9c41d2a7", "printer-77aa0b1c2d", "x"];
        let tokens: Vec<_> =
            known.iter().map(|token| StaticToken::from_text(token.as_bytes(), &token[..1], None)).collect();
        for token in known {
            assert_eq!(&*find(&tokens, token).unwrap().user, &token[..1]);
            for at in 0..token.len() {
                assert!(find(&tokens, &token[..at]).is_none(), "cut at {at}");
                let mut changed = token.to_owned();
                changed.replace_range(at..=at, "!");
                assert!(find(&tokens, &changed).is_none(), "{changed}");
            }
            assert!(find(&tokens, &format!("{token} ")).is_none());
        }
        assert!(find(&[], "").is_none());
    }

    #[test]
    fn a_token_can_be_written_as_its_hash() {
        // echo -n abc | sha256sum
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        }
        let token = StaticToken::from_hash(hash, "machine", Some(Vec::new()));
        assert!(token.is_same(&StaticToken::from_text(b"abc", "other", None)));
        let proof = find(&[token], "abc").unwrap();
        assert_eq!((&*proof.user, proof.own), ("machine", Some([].into())));
    }
}
