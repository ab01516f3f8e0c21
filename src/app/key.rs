//! Under which key a room remembers what a client has published.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha1::{Digest, Sha1};

use crate::auth::Visitor;
use crate::{Limits, Message};

/// The key for what a visitor calls `id`: whose it is, its name, and what it says. `None` where the name is empty or
/// longer than `idempotency_key_bytes_max`.
///
/// Clients without a name cannot be told apart, and two may choose the same id; what they say is then another
/// publication, unless it is the same, too.
pub(super) fn of(visitor: &Visitor, id: &str, message: Message<'_>, limits: &Limits) -> Option<String> {
    let is_valid = !id.is_empty() && id.len() <= limits.idempotency_key_bytes_max;
    let content = Sha1::digest(message.as_bytes());
    let user = visitor.name().unwrap_or_default();
    // The digest has a fixed length and a name no line feed, so no two of these read alike.
    is_valid.then(|| format!("{}{user}\n{id}", STANDARD_NO_PAD.encode(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_visitors_one_id_and_one_content() {
        let limits = Limits::default();
        let nobody = Visitor::default();
        let key = |id: &str, text: &str| of(&nobody, id, Message::Text(text), &limits);
        assert_eq!(key("1", "hello"), key("1", "hello"));
        assert_ne!(key("1", "hello"), key("2", "hello"));
        assert_ne!(key("1", "hello"), key("1", "hello!"));
        assert_eq!(key("", "hello"), None);
        assert!(key(&"i".repeat(128), "hello").is_some());
        assert_eq!(key(&"i".repeat(129), "hello"), None);
    }
}
