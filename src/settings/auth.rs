//! The `[auth]` table of a configuration file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::auth::{
    Access, Anonymous, Gate, Grant, Jwt, JwtKey, JwtRules, Right, RoomPattern, Secret, SignedCookie,
    StaticToken, TrustedHeader, is_user,
};
use crate::limits::Unit;

/// What is said about who may do what; without it, everybody may do everything.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthEntry {
    #[serde(default)]
    anonymous: AnonymousEntry,
    cookie: Option<CookieEntry>,
    jwt: Option<JwtEntry>,
    header: Option<HeaderEntry>,
    #[serde(default)]
    token: Vec<TokenEntry>,
    #[serde(default)]
    grant: Vec<GrantEntry>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnonymousEntry {
    #[default]
    Allow,
    Read,
    Refuse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CookieEntry {
    name: String,
    secrets: SecretsEntry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JwtEntry {
    #[serde(default)]
    algorithm: AlgorithmEntry,
    secrets: Option<SecretsEntry>,
    #[serde(default)]
    keys: Vec<PathBuf>,
    #[serde(default)]
    audience: Vec<String>,
    #[serde(default)]
    issuer: Vec<String>,
    user: Option<String>,
    rights: Option<String>,
    leeway: Option<String>,
    expiry_required: Option<bool>,
    cookie: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum AlgorithmEntry {
    #[default]
    HS256,
    RS256,
    ES256,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderEntry {
    name: String,
    from: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenEntry {
    user: String,
    sha256: Option<String>,
    secret: Option<SecretEntry>,
    rooms: Option<Vec<String>>,
    rights: Option<Vec<Right>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantEntry {
    users: Vec<String>,
    rooms: Vec<String>,
    rights: Vec<Right>,
}

/// One secret or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum SecretsEntry {
    Several(Vec<SecretEntry>),
    One(SecretEntry),
}

/// Where a secret stands. Whatever else is written is taken without a look: an error must not show what may be one.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum SecretEntry {
    File { file: PathBuf },
    Env { env: String },
    Wrong(IgnoredAny),
}

/// What is around a configuration file: the variables of the environment, and the folder that paths start from.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The variables.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The folder.
    pub folder: &'a Path,
}

impl AuthEntry {
    /// Makes the gate, which reads the secrets and keys from where they stand.
    ///
    /// # Errors
    /// A sentence for each mistake, with the key at fault, and never with a secret.
    pub(super) fn into_gate(self, around: Around<'_>) -> Result<Gate, Vec<String>> {
        let mut wrong = Vec::new();
        let mut tokens: Vec<StaticToken> = Vec::new();
        for (number, token) in self.token.into_iter().enumerate() {
            let key = format!("auth.token[{number}]");
            match token.into_token(&key, around) {
                Ok(token) if tokens.iter().any(|earlier| earlier.is_same(&token)) => {
                    wrong.push(format!("{key}: an earlier one is the same"));
                }
                Ok(token) => tokens.push(token),
                Err(why) => wrong.push(why),
            }
        }
        let mut grants = Vec::new();
        for (number, grant) in self.grant.into_iter().enumerate() {
            match grant.into_grant(&format!("auth.grant[{number}]")) {
                Ok(grant) => grants.push(grant),
                Err(why) => wrong.push(why),
            }
        }
        let gate = Gate {
            cookie: noted(self.cookie.map(|cookie| cookie.into_cookie(around)), &mut wrong),
            jwt: noted(self.jwt.map(|jwt| jwt.into_jwt(around)), &mut wrong),
            header: noted(self.header.map(HeaderEntry::into_header), &mut wrong),
            tokens,
            anonymous: match self.anonymous {
                AnonymousEntry::Allow => Anonymous::Allow,
                AnonymousEntry::Read => Anonymous::Read,
                AnonymousEntry::Refuse => Anonymous::Refuse,
            },
            grants: grants.into_iter().collect(),
        };
        if wrong.is_empty() { Ok(gate) } else { Err(wrong) }
    }
}

/// What was read, if it was; what was wrong with it is noted.
fn noted<T>(read: Option<Result<T, String>>, wrong: &mut Vec<String>) -> Option<T> {
    read?.map_err(|why| wrong.push(why)).ok()
}

impl CookieEntry {
    fn into_cookie(self, around: Around<'_>) -> Result<SignedCookie, String> {
        let secrets = self.secrets.read("auth.cookie.secrets", around)?;
        let invalid = || format!("auth.cookie.name: `{}` is not a cookie's name", self.name);
        SignedCookie::new(&self.name, secrets).ok_or_else(invalid)
    }
}

impl JwtEntry {
    fn into_jwt(self, around: Around<'_>) -> Result<Jwt, String> {
        let keys = match self.algorithm {
            AlgorithmEntry::HS256 if !self.keys.is_empty() => {
                return Err("auth.jwt.keys: HS256 has secrets; keys are for RS256 and ES256".to_owned());
            }
            AlgorithmEntry::RS256 | AlgorithmEntry::ES256 if self.secrets.is_some() => {
                return Err(
                    "auth.jwt.secrets: RS256 and ES256 have public keys; secrets are for HS256".to_owned()
                );
            }
            AlgorithmEntry::HS256 => {
                let secrets = self.secrets.unwrap_or(SecretsEntry::Several(Vec::new()));
                secrets.read("auth.jwt.secrets", around)?.iter().map(JwtKey::hs256).collect()
            }
            AlgorithmEntry::RS256 | AlgorithmEntry::ES256 => {
                public_keys(&self.keys, self.algorithm, around.folder)?
            }
        };
        let plain = JwtRules::default();
        let leeway = |text: String| {
            let ms = Unit::Time.parse(&text).map(Duration::from_millis);
            ms.ok_or_else(|| format!("auth.jwt.leeway: `{text}` is not {}", Unit::Time.words()))
        };
        let rules = JwtRules {
            audience: self.audience,
            issuer: self.issuer,
            user: self.user.unwrap_or(plain.user),
            rights: self.rights,
            leeway: self.leeway.map(leeway).transpose()?.unwrap_or(plain.leeway),
            expiry_required: self.expiry_required.unwrap_or(plain.expiry_required),
            cookie: self.cookie,
        };
        Ok(Jwt::new(keys, rules))
    }
}

fn public_keys(files: &[PathBuf], algorithm: AlgorithmEntry, folder: &Path) -> Result<Vec<JwtKey>, String> {
    if files.is_empty() {
        return Err("auth.jwt.keys: RS256 and ES256 need the file of a public key".to_owned());
    }
    let read = |file: &PathBuf| {
        let in_file = |why: String| format!("auth.jwt.keys: {}: {why}", file.display());
        let pem = std::fs::read(folder.join(file)).map_err(|error| in_file(error.to_string()))?;
        let key = match algorithm {
            AlgorithmEntry::ES256 => JwtKey::es256(&pem),
            AlgorithmEntry::HS256 | AlgorithmEntry::RS256 => JwtKey::rs256(&pem),
        };
        key.map_err(|error| in_file(error.to_string()))
    };
    files.iter().map(read).collect()
}

impl HeaderEntry {
    fn into_header(self) -> Result<TrustedHeader, String> {
        let invalid = |text| format!("auth.header: `{text}` is not a header's name, an address or a network");
        TrustedHeader::new(&self.name, &self.from).map_err(invalid)
    }
}

impl TokenEntry {
    /// The shortest token, which nobody is to guess.
    pub(super) const BYTES_MIN: usize = 16;

    fn into_token(self, key: &str, around: Around<'_>) -> Result<StaticToken, String> {
        if !is_user(&self.user) {
            return Err(format!("{key}.user: `{}` is not a user's name", self.user));
        }
        let own = match (self.rooms, self.rights) {
            (None, None) => None,
            (rooms, rights) => {
                let rooms = rooms.unwrap_or_else(|| vec!["*".to_owned()]);
                let rights = rights.unwrap_or_else(|| Right::ALL.to_vec());
                Some(vec![access(&format!("{key}.rooms"), &rooms, &rights)?])
            }
        };
        match (self.sha256, self.secret) {
            (Some(hex), None) => {
                let hash = hash(&hex)
                    .ok_or_else(|| format!("{key}.sha256: not the 64 hexadecimal digits of a SHA-256"))?;
                Ok(StaticToken::from_hash(hash, &self.user, own))
            }
            (None, Some(secret)) => {
                let text = secret.read(&format!("{key}.secret"), around)?;
                match text.len() < Self::BYTES_MIN {
                    true => Err(format!("{key}.secret: a token has at least {} bytes", Self::BYTES_MIN)),
                    false => Ok(StaticToken::from_text(&text, &self.user, own)),
                }
            }
            (_, _) => Err(format!("{key}: each has a sha256, or a secret")),
        }
    }
}

fn hash(hex: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

impl GrantEntry {
    fn into_grant(self, key: &str) -> Result<Grant, String> {
        match self.users.iter().find(|user| !is_user(user)) {
            Some(user) => Err(format!("{key}.users: `{user}` is not a user's name")),
            None => Ok(Grant {
                access: access(&format!("{key}.rooms"), &self.rooms, &self.rights)?,
                users: self.users,
            }),
        }
    }
}

fn access(key: &str, rooms: &[String], rights: &[Right]) -> Result<Access, String> {
    let pattern =
        |room: &String| RoomPattern::parse(room).map_err(|error| format!("{key}: `{room}` is {error}"));
    Ok(Access {
        rooms: rooms.iter().map(pattern).collect::<Result<_, _>>()?,
        rights: rights.iter().copied().collect(),
    })
}

impl SecretsEntry {
    fn read(self, key: &str, around: Around<'_>) -> Result<Vec<Secret>, String> {
        let entries = match self {
            SecretsEntry::Several(entries) => entries,
            SecretsEntry::One(entry) => vec![entry],
        };
        if entries.is_empty() {
            return Err(format!("{key}: there is none"));
        }
        let secret = |entry: SecretEntry| {
            let bytes = entry.read(key, around)?;
            Secret::new(&bytes).map_err(|error| format!("{key}: {error}"))
        };
        entries.into_iter().map(secret).collect()
    }
}

impl SecretEntry {
    /// The secret, without the line's end that an editor puts behind it.
    pub(super) fn read(self, key: &str, around: Around<'_>) -> Result<Vec<u8>, String> {
        let mut bytes = match self {
            SecretEntry::File { file } => std::fs::read(around.folder.join(&file))
                .map_err(|error| format!("{key}: {}: {error}", file.display()))?,
            SecretEntry::Env { env: name } => (around.env)(&name)
                .ok_or_else(|| format!("{key}: the variable {name} is not set"))?
                .into_bytes(),
            SecretEntry::Wrong(_) => {
                return Err(format!(
                    "{key}: a secret does not stand in this file, but where {{ file = \"…\" }} or {{ env = \"…\" }} says"
                ));
            }
        };
        let end = bytes.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
        bytes.truncate(end);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn gate(text: &str) -> Result<Gate, String> {
        let entry: AuthEntry = toml::from_str(text).map_err(|error| error.to_string())?;
        let env = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
        let around = Around { env: &env, folder: Path::new("") };
        entry.into_gate(around).map_err(|wrong| wrong.join("\n"))
    }

    #[test]
    fn an_empty_table_lets_everybody_do_everything() {
        assert_eq!(gate(""), Ok(Gate::default()));
        assert_eq!(gate("anonymous = 'allow'"), Ok(Gate::default()));
        assert_eq!(gate("anonymous = 'refuse'").unwrap().anonymous, Anonymous::Refuse);
    }

    #[test]
    fn every_key_of_the_table_arrives_in_the_gate() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{SECRET}\r\n")).unwrap();
        let text = format!(
            "anonymous = 'read'
            [cookie]
            name = 'session'
            secrets = [{{ file = '{}' }}, {{ env = 'SECRET' }}]
            [jwt]
            algorithm = 'HS256'
            secrets = {{ env = 'SECRET' }}
            audience = ['chat']
            issuer = ['https://id.example']
            user = 'name'
            rights = 'rights'
            leeway = '3s'
            expiry_required = false
            cookie = 'jwt'
            [header]
            name = 'x-user'
            from = ['10.0.0.0/8', '::1']
            [[token]]
            user = 'builder'
            sha256 = 'BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
            [[token]]
            user = 'printer'
            secret = {{ env = 'SECRET' }}
            rooms = ['jobs.*']
            rights = ['publish']
            [[grant]]
            users = ['mary', '*']
            rooms = ['lobby']
            rights = ['join', 'presence']",
            file.path().display()
        );
        let secret = Secret::new(SECRET.as_bytes()).unwrap();
        let (name, from) = ("x-user", ["10.0.0.0/8".to_owned(), "::1".to_owned()]);
        let pattern = |text| RoomPattern::parse(text).unwrap();
        let own = Access { rooms: vec![pattern("jobs.*")], rights: [Right::Publish].into_iter().collect() };
        let access = Access {
            rooms: vec![pattern("lobby")],
            rights: [Right::Join, Right::Presence].into_iter().collect(),
        };
        let rules = JwtRules {
            audience: vec!["chat".into()],
            issuer: vec!["https://id.example".into()],
            user: "name".into(),
            rights: Some("rights".into()),
            leeway: Duration::from_secs(3),
            expiry_required: false,
            cookie: Some("jwt".into()),
        };
        let want = Gate {
            cookie: SignedCookie::new("session", vec![secret.clone(), secret.clone()]),
            jwt: Some(Jwt::new(vec![JwtKey::hs256(&secret)], rules)),
            header: Some(TrustedHeader::new(name, &from).unwrap()),
            tokens: vec![
                StaticToken::from_text(b"abc", "builder", None),
                StaticToken::from_text(SECRET.as_bytes(), "printer", Some(vec![own])),
            ],
            anonymous: Anonymous::Read,
            grants: [Grant { users: vec!["mary".into(), "*".into()], access }].into(),
        };
        assert_eq!(gate(&text), Ok(want));
    }

    #[test]
    fn the_page_on_it_shows_a_table_that_is_understood() {
        let page = include_str!("../../docs/auth.md");
        let text = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), SECRET).unwrap();
        let text = text.replace("cookie.secret", file.path().to_str().unwrap());
        let text = text.replace("auth.", "").replace("[auth]", "");
        let text = text.replace("OLD_COOKIE_SECRET", "SECRET").replace("JWT_SECRET", "SECRET");
        let gate = gate(&text).unwrap();
        assert!(gate.cookie.is_some() && gate.header.is_some());
        // What it says of defaults is so.
        let rules = JwtRules {
            audience: vec!["chat".into()],
            issuer: vec!["https://id.example".into()],
            rights: Some("rights".into()),
            cookie: Some("jwt".into()),
            ..JwtRules::default()
        };
        let key = JwtKey::hs256(&Secret::new(SECRET.as_bytes()).unwrap());
        assert_eq!(gate.jwt, Some(Jwt::new(vec![key], rules)));
        assert_eq!((gate.tokens.len(), gate.grants.len()), (1, 1));
    }

    #[test]
    fn a_tokens_rooms_and_rights_are_all_of_them_where_only_the_others_are_named() {
        let own = |lines: &str| {
            let text = format!("[[token]]\nuser = 'x'\nsecret = {{ env = 'SECRET' }}\n{lines}");
            gate(&text).unwrap().tokens
        };
        let all = RoomPattern::parse("*").unwrap();
        let with = |rooms, rights: &[Right]| {
            let access = Access { rooms, rights: rights.iter().copied().collect() };
            vec![StaticToken::from_text(SECRET.as_bytes(), "x", Some(vec![access]))]
        };
        assert_eq!(own("rights = ['join']"), with(vec![all], &[Right::Join]));
        assert_eq!(own("rooms = ['a']"), with(vec![RoomPattern::parse("a").unwrap()], &Right::ALL));
    }

    #[test]
    #[cfg(feature = "jwt-asymmetric")]
    fn public_keys_are_read_from_their_files() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys");
        let text =
            |algorithm, file| format!("[jwt]\nalgorithm = '{algorithm}'\nkeys = ['{folder}/{file}.pem']");
        assert!(gate(&text("RS256", "rfc7515_a2")).is_ok());
        assert!(gate(&text("ES256", "rfc7515_a3")).is_ok());
        let why = gate(&text("ES256", "rfc7515_a2")).unwrap_err();
        assert!(why.contains("auth.jwt.keys: /") && why.contains("not a public key"), "{why}");
        assert!(gate(&text("RS256", "nowhere")).unwrap_err().contains("nowhere.pem"));
    }

    #[test]
    fn what_is_wrong_is_named_and_secrets_are_not_shown() {
        let cookie = |secrets: &str| format!("[cookie]\nname = 'session'\nsecrets = {secrets}");
        let token = |line: &str| format!("[[token]]\nuser = 'x'\n{line}");
        let jwt = |lines: &str| format!("[jwt]\n{lines}");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let rows = [
            ("nonsense = 1".to_owned(), "nonsense"),
            ("anonymous = 'maybe'".to_owned(), "maybe"),
            (cookie("[]"), "auth.cookie.secrets: there is none"),
            (cookie("'hunter2'"), "auth.cookie.secrets: a secret does not stand in this file"),
            (cookie("['hunter2']"), "auth.cookie.secrets: a secret does not stand in this file"),
            (cookie("[{ text = 'hunter2' }]"), "auth.cookie.secrets: a secret does not stand in this file"),
            (cookie("{ env = 'NOTHING' }"), "auth.cookie.secrets: the variable NOTHING is not set"),
            (cookie("{ file = '/nowhere/at/all' }"), "auth.cookie.secrets: /nowhere/at/all"),
            (cookie("{ file = '/dev/null' }"), "auth.cookie.secrets: a secret has at least 32 bytes"),
            ("[cookie]\nname = 'a b'\nsecrets = { env = 'SECRET' }".to_owned(), "auth.cookie.name"),
            (jwt("secrets = 'hunter2'"), "auth.jwt.secrets: a secret does not stand in this file"),
            (jwt(""), "auth.jwt.secrets: there is none"),
            (jwt("keys = ['x.pem']"), "auth.jwt.keys: HS256"),
            (jwt("algorithm = 'RS256'"), "auth.jwt.keys"),
            (jwt("algorithm = 'RS256'\nsecrets = { env = 'SECRET' }"), "auth.jwt.secrets: RS256"),
            (jwt("algorithm = 'none'"), "none"),
            (jwt("secrets = { env = 'SECRET' }\nleeway = '3'"), "auth.jwt.leeway"),
            ("[header]\nname = 'x-user'\nfrom = ['10.0.0.0/99']".to_owned(), "auth.header: `10.0.0.0/99`"),
            (token(""), "auth.token[0]: each has"),
            (token(&format!("sha256 = '{hex}'\nsecret = {{ env = 'SECRET' }}")), "auth.token[0]: each has"),
            (token("sha256 = 'hunter2'"), "auth.token[0].sha256"),
            (token("secret = 'hunter2'"), "auth.token[0].secret: a secret does not stand in this file"),
            (token(&format!("sha256 = '{hex}'\nrooms = ['a*b']")), "auth.token[0].rooms: `a*b`"),
            (token(&format!("sha256 = '{hex}'\nrights = ['fly']")), "fly"),
            (
                format!("{}\n{}", token(&format!("sha256 = '{hex}'")), token(&format!("sha256 = '{hex}'"))),
                "the same",
            ),
            (token("sha256 = 'x'").replace("'x'\n", "''\n"), "auth.token[0].user"),
            ("[[grant]]\nusers = ['x']\nrooms = ['']\nrights = []".to_owned(), "auth.grant[0].rooms"),
            ("[[grant]]\nusers = ['']\nrooms = ['a']\nrights = []".to_owned(), "auth.grant[0].users"),
            ("[[grant]]\nusers = ['x']\nrooms = ['a']".to_owned(), "rights"),
        ];
        for (text, named) in rows {
            let why = gate(&text).unwrap_err();
            assert!(why.contains(named) && !why.contains("hunter2"), "{text}: {why}");
        }
    }
}
