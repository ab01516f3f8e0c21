//! JSON Web Tokens, RFC 7519: HS256, RS256 and ES256 (RFC 7518 §3), and nothing else.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::claims::{self, Access};
use super::secret::Secret;
use super::{Proof, provider};
use crate::http::response::Refusal;

/// A key that tokens are verified with, bound to its algorithm: a token does not choose.
#[derive(Clone)]
pub struct JwtKey {
    algorithm: Algorithm,
    /// The secret, or the public key as it stands in its file.
    written: Box<[u8]>,
    decoding: DecodingKey,
}

/// A public key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKey {
    /// It is no public key in PEM for this algorithm.
    NotPublic,
    /// It has too few bits, or lies on another curve.
    Unfit,
    /// This build knows only HS256: the feature `jwt-asymmetric` is off.
    NotBuilt,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidKey::NotPublic => "not a public key in PEM for this algorithm",
            InvalidKey::Unfit => "RS256 takes keys of 2048 bits and more, ES256 those on the curve P-256",
            InvalidKey::NotBuilt => "this build knows only HS256: it lacks the feature jwt-asymmetric",
        })
    }
}

impl std::error::Error for InvalidKey {}

impl JwtKey {
    /// A secret for HS256.
    pub fn hs256(secret: &Secret) -> Self {
        let written = secret.as_bytes();
        Self {
            algorithm: Algorithm::HS256,
            written: written.into(),
            decoding: DecodingKey::from_secret(written),
        }
    }

    /// A public key for RS256, from the text of a PEM file.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn rs256(pem: &[u8]) -> Result<Self, InvalidKey> {
        Self::public(Algorithm::RS256, pem)
    }

    /// A public key for ES256, from the text of a PEM file.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn es256(pem: &[u8]) -> Result<Self, InvalidKey> {
        Self::public(Algorithm::ES256, pem)
    }

    #[cfg(feature = "jwt-asymmetric")]
    fn public(algorithm: Algorithm, pem: &[u8]) -> Result<Self, InvalidKey> {
        let is_public = std::str::from_utf8(pem).is_ok_and(|text| text.contains("PUBLIC KEY-----"));
        let decoding = match algorithm {
            Algorithm::RS256 => DecodingKey::from_rsa_pem(pem),
            _ => DecodingKey::from_ec_pem(pem),
        };
        let decoding = decoding.ok().filter(|_| is_public).ok_or(InvalidKey::NotPublic)?;
        let bytes = decoding.try_get_as_bytes().map_err(|_| InvalidKey::NotPublic)?;
        let is_fit = match algorithm {
            Algorithm::RS256 => bytes.len() > 256,
            // SEC 1 §2.3.3: an uncompressed point of two times 32 bytes.
            _ => bytes.len() == 65 && bytes.starts_with(&[4]),
        };
        match is_fit {
            true => Ok(Self { algorithm, written: pem.into(), decoding }),
            false => Err(InvalidKey::Unfit),
        }
    }

    #[cfg(not(feature = "jwt-asymmetric"))]
    fn public(_algorithm: Algorithm, _pem: &[u8]) -> Result<Self, InvalidKey> {
        Err(InvalidKey::NotBuilt)
    }

    fn name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "HS256",
        }
    }
}

impl PartialEq for JwtKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.written == other.written
    }
}

impl Eq for JwtKey {}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtKey({})", self.name())
    }
}

/// What is asked of a token besides its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRules {
    /// Of `aud` one has to be among these; where there are none, a token for any audience is refused (RFC 7519 §4.1.3).
    pub audience: Vec<String>,
    /// `iss` has to be one of these, where there are any.
    pub issuer: Vec<String>,
    /// The claim that names the user.
    pub user: String,
    /// The claim with the user's rights, where tokens may have one.
    pub rights: Option<String>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// Whether a token without `exp` is refused.
    pub expiry_required: bool,
    /// The cookie in which a token may come.
    pub cookie: Option<String>,
}

impl Default for JwtRules {
    fn default() -> Self {
        Self {
            audience: Vec::new(),
            issuer: Vec::new(),
            user: "sub".to_owned(),
            rights: None,
            leeway: Duration::from_secs(10),
            expiry_required: true,
            cookie: None,
        }
    }
}

/// Checks tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    keys: Vec<JwtKey>,
    rules: JwtRules,
}

/// What has to be known of a token's head before it is verified.
#[derive(Deserialize)]
struct Head {
    alg: String,
    /// RFC 7515 §4.1.11: extensions that have to be understood, and none is.
    crit: Option<Value>,
}

impl Jwt {
    /// Tokens signed with any of these keys.
    pub fn new(keys: Vec<JwtKey>, rules: JwtRules) -> Self {
        provider::install();
        Self { keys, rules }
    }

    /// The cookie in which a token may come.
    pub(super) fn cookie(&self) -> Option<&str> {
        self.rules.cookie.as_deref()
    }

    /// Who shows this token.
    pub(super) fn check(&self, token: &str, now_ms: u64) -> Result<Proof, Refusal> {
        let claims = self.verify(token).map_err(Refusal::Unauthorized)?;
        self.accept(&claims, now_ms).map_err(Refusal::Unauthorized)
    }

    /// The claims of a token that was signed with one of the keys, for us, by whom we listen to.
    fn verify(&self, token: &str) -> Result<Map<String, Value>, &'static str> {
        let head = head(token).ok_or("the token is not known")?;
        if head.crit.is_some() {
            return Err("the token asks for an extension that is not known here");
        }
        let mut why = "the token's algorithm is not the one in use here";
        for key in self.keys.iter().filter(|key| key.name() == head.alg) {
            match jsonwebtoken::decode(token, &key.decoding, &self.validation(key.algorithm)) {
                Ok(data) => return Ok(data.claims),
                Err(error) => why = reason(error.kind()),
            }
            if why != BAD_SIGNATURE {
                // It is this key that it was signed with.
                break;
            }
        }
        Err(why)
    }

    /// The library looks at the clock by itself, so times are left to [`Jwt::accept`].
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        validation.required_spec_claims.clear();
        if !self.rules.audience.is_empty() {
            validation.set_audience(&self.rules.audience);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if !self.rules.issuer.is_empty() {
            validation.set_issuer(&self.rules.issuer);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }

    /// RFC 7519 §4.1.4 and §4.1.5: good before `exp`, and from `nbf` on.
    fn accept(&self, claims: &Map<String, Value>, now_ms: u64) -> Result<Proof, &'static str> {
        let leeway_ms = self.rules.leeway.as_millis() as u64;
        let expires_ms = claims::time(claims, "exp")?.map(|ms| ms.saturating_add(leeway_ms));
        if expires_ms.is_none() && self.rules.expiry_required {
            return Err("the token does not say when it expires");
        }
        if expires_ms.is_some_and(|ms| now_ms >= ms) {
            return Err("the token has expired");
        }
        if claims::time(claims, "nbf")?.is_some_and(|ms| now_ms.saturating_add(leeway_ms) < ms) {
            return Err("the token is not good yet");
        }
        let user = claims::user(claims, &self.rules.user)?;
        let own: Option<Vec<Access>> = match &self.rules.rights {
            Some(claim) => claims::rights(claims, claim)?,
            None => None,
        };
        Ok(Proof { user, expires_ms, own: own.map(Into::into), token_id: claims::id(claims) })
    }
}

fn head(token: &str) -> Option<Head> {
    let (head, rest) = token.split_once('.')?;
    let is_signed = rest.split('.').count() == 2;
    let json = URL_SAFE_NO_PAD.decode(head).ok().filter(|_| is_signed)?;
    serde_json::from_slice(&json).ok()
}

const BAD_SIGNATURE: &str = "the token's signature is not good";

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => "the token is from another issuer",
        ErrorKind::InvalidAudience | ErrorKind::MissingRequiredClaim(_) => {
            "the token is for another audience"
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => {
            "the token's algorithm is not the one in use here"
        }
        ErrorKind::InvalidSignature | ErrorKind::Base64(_) => BAD_SIGNATURE,
        _ => "the token cannot be read",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    const NOW_MS: u64 = 1_763_719_200_000;
    const NOW: u64 = NOW_MS / 1000;

    fn secret(byte: u8) -> Secret {
        Secret::new(&[byte; 32]).unwrap()
    }

    /// A token with any head, signed with HMAC-SHA256.
    fn signed(secret: &Secret, head: &str, claims: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
        let mac = secret.sign(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    pub fn hs256(secret: &Secret, claims: &Value) -> String {
        signed(secret, r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
    }

    fn jwt(rules: JwtRules) -> Jwt {
        Jwt::new(vec![JwtKey::hs256(&secret(1))], rules)
    }

    fn strict() -> Jwt {
        jwt(JwtRules { leeway: Duration::ZERO, ..JwtRules::default() })
    }

    fn reason(jwt: &Jwt, token: &str) -> &'static str {
        let refusal = jwt.check(token, NOW_MS).unwrap_err();
        assert_eq!(refusal.status(), 401);
        refusal.reason()
    }

    /// RFC 7515, appendices A.1 to A.3: one text, signed in three ways; it was good until March 2011.
    mod rfc7515 {
        use super::*;

        const CLAIMS: &str =
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        const EXPIRES_MS: u64 = 1_300_819_380_000;

        fn check(key: JwtKey, head: &str, signature: &str) {
            let rules = JwtRules {
                user: "iss".into(),
                leeway: Duration::ZERO,
                issuer: vec!["joe".into()],
                ..JwtRules::default()
            };
            let jwt = Jwt::new(vec![key], rules);
            let token = format!("{head}.{CLAIMS}.{signature}");
            let proof = jwt.check(&token, EXPIRES_MS - 1).unwrap();
            assert_eq!((&*proof.user, proof.expires_ms), ("joe", Some(EXPIRES_MS)));
            let refusal = jwt.check(&token, EXPIRES_MS).unwrap_err();
            assert_eq!(refusal, Refusal::Unauthorized("the token has expired"));
            for at in 0..token.len() {
                let with = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
                let mut changed = token.clone();
                changed.replace_range(at..=at, with);
                assert!(jwt.check(&changed, EXPIRES_MS - 1).is_err(), "byte {at}");
                assert!(jwt.check(&token[..at], EXPIRES_MS - 1).is_err(), "cut at {at}");
            }
        }

        #[test]
        fn row_46_a_1_hs256() {
            let key =
                "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
            let secret = Secret::new(&URL_SAFE_NO_PAD.decode(key).unwrap()).unwrap();
            let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
            check(JwtKey::hs256(&secret), "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", signature);
        }

        #[test]
        #[cfg(feature = "jwt-asymmetric")]
        fn row_46_a_2_rs256() {
            let key = JwtKey::rs256(super::A2).unwrap();
            let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5\
                             jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb\
                             1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO\
                             YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
            check(key, "eyJhbGciOiJSUzI1NiJ9", signature);
        }

        #[test]
        #[cfg(feature = "jwt-asymmetric")]
        fn row_46_a_3_es256() {
            let key = JwtKey::es256(super::A3).unwrap();
            let signature =
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
            check(key, "eyJhbGciOiJFUzI1NiJ9", signature);
        }
    }

    #[cfg(feature = "jwt-asymmetric")]
    const A2: &[u8] = include_bytes!("../../tests/keys/rfc7515_a2.pem");
    #[cfg(feature = "jwt-asymmetric")]
    const A3: &[u8] = include_bytes!("../../tests/keys/rfc7515_a3.pem");

    #[test]
    fn a_token_is_good_before_its_expiry_and_from_its_beginning_give_or_take_the_leeway() {
        let expired = "the token has expired";
        let early = "the token is not good yet";
        let rows = [
            (0, json!({ "exp": NOW + 1 }), Ok(Some(NOW_MS + 1000))),
            (0, json!({ "exp": NOW }), Err(expired)),
            (0, json!({ "exp": NOW as f64 + 0.5 }), Ok(Some(NOW_MS + 500))),
            (0, json!({ "exp": 0 }), Err(expired)),
            (0, json!({ "exp": -1 }), Err(expired)),
            (0, json!({ "exp": u64::MAX }), Ok(Some(u64::MAX))),
            (5, json!({ "exp": NOW - 4 }), Ok(Some(NOW_MS + 1000))),
            (5, json!({ "exp": NOW - 5 }), Err(expired)),
            (0, json!({ "exp": NOW + 9, "nbf": NOW }), Ok(Some(NOW_MS + 9000))),
            (0, json!({ "exp": NOW + 9, "nbf": NOW + 1 }), Err(early)),
            (5, json!({ "exp": NOW + 9, "nbf": NOW + 5 }), Ok(Some(NOW_MS + 14_000))),
            (5, json!({ "exp": NOW + 9, "nbf": NOW + 6 }), Err(early)),
            (0, json!({ "exp": NOW + 9, "nbf": "soon" }), Err("a time in the token is not a number")),
            (0, json!({ "exp": "never" }), Err("a time in the token is not a number")),
            (0, json!({ "exp": null }), Err("a time in the token is not a number")),
            (0, json!({}), Err("the token does not say when it expires")),
        ];
        for (leeway, mut claims, want) in rows {
            claims["sub"] = json!("mary");
            let jwt = jwt(JwtRules { leeway: Duration::from_secs(leeway), ..JwtRules::default() });
            let proof = jwt.check(&hs256(&secret(1), &claims), NOW_MS);
            assert_eq!(
                proof.map(|proof| proof.expires_ms).map_err(Refusal::reason),
                want,
                "{leeway} {claims}"
            );
        }
        let lasting = jwt(JwtRules { expiry_required: false, ..JwtRules::default() });
        assert_eq!(
            lasting.check(&hs256(&secret(1), &json!({ "sub": "mary" })), NOW_MS).unwrap().expires_ms,
            None
        );
        assert_eq!(reason(&lasting, &hs256(&secret(1), &json!({ "sub": "mary", "exp": NOW - 11 }))), expired);
    }

    #[test]
    fn the_algorithm_is_ours_to_choose() {
        let claims = json!({ "sub": "mary", "exp": NOW + 9 }).to_string();
        let wrong = "the token's algorithm is not the one in use here";
        for alg in ["none", "None", "NONE", "", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256"] {
            let token = signed(&secret(1), &json!({ "alg": alg }).to_string(), &claims);
            assert_eq!(reason(&strict(), &token), wrong, "{alg}");
            let (unsigned, _) = token.rsplit_once('.').unwrap();
            assert_eq!(reason(&strict(), &format!("{unsigned}.")), wrong, "{alg} without a signature");
        }
        let good = signed(&secret(1), r#"{"alg":"HS256"}"#, &claims);
        assert!(strict().check(&good, NOW_MS).is_ok());
        let (unsigned, _) = good.rsplit_once('.').unwrap();
        assert_eq!(reason(&strict(), &format!("{unsigned}.")), "the token's signature is not good");
        let critical = signed(&secret(1), r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &claims);
        assert_eq!(reason(&strict(), &critical), "the token asks for an extension that is not known here");
    }

    #[test]
    #[cfg(feature = "jwt-asymmetric")]
    fn a_public_key_is_no_secret_to_sign_with() {
        for (pem, key) in [(A2, JwtKey::rs256(A2)), (A3, JwtKey::es256(A3))] {
            let jwt = Jwt::new(vec![key.unwrap()], JwtRules::default());
            let as_secret = Secret::new(pem).unwrap();
            let token = hs256(&as_secret, &json!({ "sub": "mary", "exp": NOW + 9 }));
            assert_eq!(reason(&jwt, &token), "the token's algorithm is not the one in use here");
            // And signed so, but said to be what is in use.
            for alg in ["RS256", "ES256"] {
                let head = json!({ "alg": alg }).to_string();
                let claims = json!({ "sub": "mary", "exp": NOW + 9 }).to_string();
                assert!(jwt.check(&signed(&as_secret, &head, &claims), NOW_MS).is_err(), "{alg}");
            }
        }
    }

    #[test]
    #[cfg(feature = "jwt-asymmetric")]
    fn keys_that_are_unfit_are_refused_before_any_token_comes() {
        let p384 = b"-----BEGIN PUBLIC KEY-----\n\
            MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEa5wQxvvkFgLyjArSyBvMPWTOQnUHFX5D\n\
            I9K8xpQ8I2665iz1cmtDTLoHE/cz6+D6M23+b6m1lIycgun0WajlXkCTGDOeAKap\n\
            DyGJo8319B+EWR8Mo/meutytlBZ8H9RI\n-----END PUBLIC KEY-----\n";
        let rsa1024 = b"-----BEGIN PUBLIC KEY-----\n\
            MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC+MbeQQB8CWejQAlcclux2dY9R\n\
            r1FENCimQZjvnzy2fPoTJXMnl7hCfvUbuscivF1PbkE2Xtvx1I5p/k6v4BMHwoTf\n\
            LCBrlTG5dZ/3qszW5VcYgNvFNn++Bj+si6vCMFx7FI6nTb3TbRHA3CMOtqZPyevr\n\
            e7DiMVM5Tb7spKmeOQIDAQAB\n-----END PUBLIC KEY-----\n";
        let private = String::from_utf8_lossy(A2).replace("PUBLIC", "PRIVATE").into_bytes();
        assert_eq!(JwtKey::es256(p384), Err(InvalidKey::Unfit));
        assert_eq!(JwtKey::rs256(rsa1024), Err(InvalidKey::Unfit));
        for pem in
            [&private[..], A3, b"", b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", b"secret"]
        {
            assert_eq!(JwtKey::rs256(pem), Err(InvalidKey::NotPublic));
        }
        assert_eq!(JwtKey::es256(A2), Err(InvalidKey::NotPublic));
    }

    #[test]
    fn every_key_is_tried_and_no_other() {
        let rules = JwtRules::default();
        let jwt = Jwt::new(vec![JwtKey::hs256(&secret(2)), JwtKey::hs256(&secret(1))], rules);
        let claims = json!({ "sub": "mary", "exp": NOW + 9 });
        for byte in [1, 2] {
            assert!(jwt.check(&hs256(&secret(byte), &claims), NOW_MS).is_ok(), "secret {byte}");
        }
        assert_eq!(reason(&jwt, &hs256(&secret(3), &claims)), BAD_SIGNATURE);
        let others = json!({ "sub": "mary", "exp": NOW + 9, "aud": "others" });
        assert_eq!(reason(&jwt, &hs256(&secret(2), &others)), "the token is for another audience");
    }

    #[test]
    fn the_audience_and_the_issuer_are_those_that_are_listed() {
        let open = strict();
        let picky = jwt(JwtRules {
            audience: vec!["chat".into(), "games".into()],
            issuer: vec!["https://id.example".into()],
            ..JwtRules::default()
        });
        let audience = "the token is for another audience";
        let issuer = "the token is from another issuer";
        let rows = [
            (&open, json!({}), Ok("mary")),
            (&open, json!({ "iss": "anybody" }), Ok("mary")),
            (&open, json!({ "aud": "others" }), Err(audience)),
            (&picky, json!({ "iss": "https://id.example", "aud": "chat" }), Ok("mary")),
            (&picky, json!({ "iss": "https://id.example", "aud": ["x", "games"] }), Ok("mary")),
            (&picky, json!({ "iss": "https://id.example", "aud": ["x"] }), Err(audience)),
            (&picky, json!({ "iss": "https://id.example", "aud": "chatter" }), Err(audience)),
            (&picky, json!({ "iss": "https://id.example", "aud": 7 }), Err(audience)),
            (&picky, json!({ "iss": "https://id.example" }), Err(audience)),
            (&picky, json!({ "iss": "https://id.example.evil", "aud": "chat" }), Err(issuer)),
            (&picky, json!({ "aud": "chat" }), Err(issuer)),
        ];
        for (jwt, mut claims, want) in rows {
            (claims["sub"], claims["exp"]) = (json!("mary"), json!(NOW + 9));
            let proof = jwt.check(&hs256(&secret(1), &claims), NOW_MS);
            let user = proof.as_ref().map(|proof| &*proof.user).map_err(|refusal| refusal.reason());
            assert_eq!(user, want, "{claims}");
        }
    }

    #[test]
    fn the_user_and_the_rights_come_from_the_claims_that_are_named() {
        let jwt = jwt(JwtRules { user: "name".into(), rights: Some("rooms".into()), ..JwtRules::default() });
        let check = |claims: Value| jwt.check(&hs256(&secret(1), &claims), NOW_MS);
        let exp = NOW + 9;
        let plain = check(json!({ "exp": exp, "sub": "7", "name": "mary" })).unwrap();
        assert_eq!((&*plain.user, plain.own), ("mary", None));
        let own = check(json!({ "exp": exp, "name": "mary", "rooms": ["join"] })).unwrap().own.unwrap();
        assert!(own[0].allows(crate::auth::Right::Join, "lobby"));
        let rows = [
            (json!({ "exp": exp, "sub": "mary" }), "the token names no user"),
            (json!({ "exp": exp, "name": "mary", "rooms": "all" }), "the token's rights cannot be read"),
        ];
        for (claims, want) in rows {
            assert_eq!(check(claims).unwrap_err().reason(), want);
        }
    }

    #[test]
    fn what_is_no_token_is_not_known_and_says_nothing_of_itself() {
        for token in ["", ".", "..", "...", "a.b.c", "e30.e30.e30", "hello", "e30.e30.e30.e30", "\u{0}"] {
            assert_eq!(reason(&strict(), token), "the token is not known", "{token}");
        }
        for claims in ["", "null", "[]", "{", "{\"sub\":\"mary\"", "\u{0}"] {
            let token = signed(&secret(1), r#"{"alg":"HS256"}"#, claims);
            assert_eq!(reason(&strict(), &token), "the token cannot be read", "{claims}");
        }
        assert_eq!(format!("{:?}", JwtKey::hs256(&secret(1))), "JwtKey(HS256)");
    }
}
