//! The signed cookie: a user's name and an expiry, signed with HMAC-SHA256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::secret::Secret;
use super::{Proof, is_user};
use crate::http::response::{Refusal, is_header};

/// Makes and checks the signed cookies of one name.
///
/// The value is `base64url(user).expiry.base64url(mac)`: the name in UTF-8, the expiry in whole seconds since 1970,
/// base64 without padding (RFC 4648 §5). The mac is HMAC-SHA256 of the cookie as it stands up to there, its own name
/// included: `name=base64url(user).expiry`. So a value that was signed for one cookie is none for another, and every
/// language has what it takes to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCookie {
    name: String,
    secrets: Vec<Secret>,
}

impl SignedCookie {
    /// Cookies of this name, signed with the first secret and accepted with any of them, so that a new secret can take
    /// the place of an old one while old cookies last.
    ///
    /// `None` where the name is none for a cookie (RFC 6265 §4.1.1), or there is no secret.
    pub fn new(name: &str, secrets: Vec<Secret>) -> Option<Self> {
        let is_name = is_header(name, "") && !secrets.is_empty();
        is_name.then(|| Self { name: name.to_owned(), secrets })
    }

    /// The cookie's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a cookie for this user, good until a time in seconds since 1970.
    ///
    /// `None` where the name is empty, too long, or has control characters: no such user would be let in.
    ///
    /// ```
    /// use fanline::auth::{Secret, SignedCookie};
    /// let secret = Secret::new(b"thirty-two bytes from /dev/random").unwrap();
    /// let cookie = SignedCookie::new("session", vec![secret]).unwrap();
    /// let value = cookie.value_for("mary", 1_763_719_200).unwrap();
    /// assert!(value.starts_with("bWFyeQ.1763719200."));
    /// ```
    pub fn value_for(&self, user: &str, expires: u64) -> Option<String> {
        let secret = self.secrets.first().filter(|_| is_user(user))?;
        let said = format!("{}.{expires}", URL_SAFE_NO_PAD.encode(user));
        let mac = secret.sign(format!("{}={said}", self.name).as_bytes());
        Some(format!("{said}.{}", URL_SAFE_NO_PAD.encode(mac)))
    }

    /// Who shows this value.
    pub(super) fn check(&self, value: &str, now_ms: u64) -> Result<Proof, Refusal> {
        let bad = || Refusal::Unauthorized("the cookie is not good");
        let (said, mac) = value.rsplit_once('.').ok_or_else(bad)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| bad())?;
        let signed = format!("{}={said}", self.name);
        if !self.secrets.iter().any(|secret| secret.verify(signed.as_bytes(), &mac)) {
            return Err(bad());
        }
        let (user, expires) = said.split_once('.').ok_or_else(bad)?;
        let expires: u64 = expires.parse().map_err(|_| bad())?;
        let user = URL_SAFE_NO_PAD.decode(user).map_err(|_| bad())?;
        let user = String::from_utf8(user).ok().filter(|user| is_user(user)).ok_or_else(bad)?;
        let expires_ms = expires.saturating_mul(1000);
        match now_ms < expires_ms {
            true => Ok(Proof { user: user.into(), expires_ms: Some(expires_ms), own: None, token_id: None }),
            false => Err(Refusal::Unauthorized("the cookie has expired")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRES: u64 = 1_763_719_200;
    const NOW: u64 = EXPIRES * 1000 - 1;

    fn secret(byte: u8) -> Secret {
        Secret::new(&[byte; 32]).unwrap()
    }

    fn cookie(name: &str, secrets: &[u8]) -> SignedCookie {
        SignedCookie::new(name, secrets.iter().copied().map(secret).collect()).unwrap()
    }

    fn reason(result: Result<Proof, Refusal>) -> &'static str {
        result.unwrap_err().reason()
    }

    #[test]
    fn row_46_a_cookie_names_its_user_until_it_expires() {
        let cookie = cookie("session", &[1]);
        for user in ["mary", "小明", "a b;c=\"d\"", &"x".repeat(256)] {
            let value = cookie.value_for(user, EXPIRES).unwrap();
            let proof = cookie.check(&value, NOW).unwrap();
            assert_eq!((&*proof.user, proof.expires_ms), (user, Some(EXPIRES * 1000)));
            assert_eq!(reason(cookie.check(&value, NOW + 1)), "the cookie has expired");
            assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        }
        for user in ["", "a\nb", "\u{7f}", &"x".repeat(257)] {
            assert_eq!(cookie.value_for(user, EXPIRES), None, "{user:?}");
        }
    }

    #[test]
    fn the_format_is_what_other_languages_can_make() {
        // hmac.new(b"\x01" * 32, b"session=bWFyeQ.1763719200", "sha256").digest() in Python.
        let value = "bWFyeQ.1763719200.9WyDZkwHx-Nhcfe4ICfE4kr1ce7YnWsfPQlxXXmb9CU";
        assert_eq!(cookie("session", &[1]).value_for("mary", EXPIRES).unwrap(), value);
    }

    #[test]
    fn a_cookie_changed_or_cut_anywhere_is_not_good() {
        let cookie = cookie("session", &[1]);
        let value = cookie.value_for("mary", EXPIRES).unwrap();
        for at in 0..value.len() {
            assert_eq!(reason(cookie.check(&value[..at], NOW)), "the cookie is not good", "cut at {at}");
            for with in ["A", "B", ".", "=", "%", "9", "\u{e9}", ""] {
                let mut changed = value.clone();
                changed.replace_range(at..=at, with);
                if changed != value {
                    assert_eq!(reason(cookie.check(&changed, NOW)), "the cookie is not good", "{changed}");
                }
            }
        }
        for more in [".", "A", "=", " ", ".A"] {
            assert!(cookie.check(&format!("{value}{more}"), NOW).is_err(), "{more:?} behind it");
        }
    }

    #[test]
    fn another_secret_or_another_name_makes_another_cookie() {
        let (old, new) = (cookie("session", &[1]), cookie("session", &[2, 1]));
        let value = old.value_for("mary", EXPIRES).unwrap();
        assert!(new.check(&value, NOW).is_ok(), "the old secret is still accepted");
        let value = new.value_for("mary", EXPIRES).unwrap();
        assert!(new.check(&value, NOW).is_ok());
        assert!(old.check(&value, NOW).is_err(), "the new one signs");
        assert!(cookie("admin", &[2]).check(&value, NOW).is_err());
        assert!(SignedCookie::new("session", vec![]).is_none());
        assert!(SignedCookie::new("a=b", vec![secret(1)]).is_none());
    }

    #[test]
    fn what_is_signed_and_says_nothing_is_not_good_either() {
        let cookie = cookie("session", &[1]);
        let sign = |said: &str| {
            let mac = secret(1).sign(format!("session={said}").as_bytes());
            format!("{said}.{}", URL_SAFE_NO_PAD.encode(mac))
        };
        assert!(cookie.check(&sign(&format!("bWFyeQ.{EXPIRES}")), NOW).is_ok());
        for said in [
            "",
            "bWFyeQ",
            "bWFyeQ.",
            "bWFyeQ.x",
            "bWFyeQ.-1",
            ".1763719200",
            "_w.1763719200",
            "Cg.1763719200",
        ] {
            assert_eq!(reason(cookie.check(&sign(said), NOW)), "the cookie is not good", "{said}");
        }
        let forever = cookie.check(&sign(&format!("bWFyeQ.{}", u64::MAX)), NOW).unwrap();
        assert_eq!(forever.expires_ms, Some(u64::MAX));
    }
}
