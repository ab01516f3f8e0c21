//! Where Redis is, and who one is there: `redis://user:password@host:port/db`, `redis+unix://user:password@/path?db=`.

use std::fmt;

use percent_encoding::percent_decode_str;

/// What a backplane's URL says.
///
/// Shown, it has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Where the server listens.
    pub place: Place,
    /// The user; the server's default one, where only a password is given.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database.
    pub db: u32,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A host's name or address, and a port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(String),
}

/// Text that is no URL of a backplane, and why not; it never shows what may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUrl(&'static str);

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; it is written redis://user:password@host:port/db or redis+unix:///path?db=", self.0)
    }
}

impl std::error::Error for InvalidUrl {}

impl Url {
    const PORT: u16 = 6379;

    /// Reads a URL.
    ///
    /// # Errors
    /// [`InvalidUrl`].
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if let Some(rest) = text.strip_prefix("redis://") {
            let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
            let (user, password, host) = split_user(authority)?;
            Ok(Self { place: tcp(host)?, user, password, db: number(db)? })
        } else if let Some(rest) = text.strip_prefix("redis+unix://") {
            let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
            let start = rest.find('/').ok_or(InvalidUrl("there is no path of a socket"))?;
            let (authority, path) = rest.split_at(start);
            let (user, password, host) = split_user(authority)?;
            if !host.is_empty() || path.len() < 2 {
                return Err(InvalidUrl("there is no path of a socket"));
            }
            let db = match query {
                "" => "",
                query => query.strip_prefix("db=").ok_or(InvalidUrl("only db can be asked for"))?,
            };
            Ok(Self { place: Place::Unix(decoded(path)?), user, password, db: number(db)? })
        } else {
            Err(InvalidUrl("the URL of the backplane is not understood"))
        }
    }
}

fn split_user(authority: &str) -> Result<(Option<String>, Option<String>, &str), InvalidUrl> {
    let Some((who, host)) = authority.rsplit_once('@') else { return Ok((None, None, authority)) };
    let (user, password) = who.split_once(':').unwrap_or((who, ""));
    let some = |text: &str| if text.is_empty() { Ok(None) } else { decoded(text).map(Some) };
    let (user, password) = (some(user)?, some(password)?);
    if user.is_some() && password.is_none() {
        return Err(InvalidUrl("there is a user without a password"));
    }
    Ok((user, password, host))
}

fn decoded(text: &str) -> Result<String, InvalidUrl> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(|text| text.into_owned()).map_err(|_| InvalidUrl("something in it is not UTF-8"))
}

fn tcp(host: &str) -> Result<Place, InvalidUrl> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or(InvalidUrl("an address lacks its bracket"))?;
            (name, if port.is_empty() { None } else { port.strip_prefix(':').or(Some("")) })
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    if name.is_empty() {
        return Err(InvalidUrl("there is no host"));
    }
    let port =
        port.map_or(Ok(Url::PORT), |port| port.parse().map_err(|_| InvalidUrl("the port is no port")))?;
    Ok(Place::Tcp(name.to_owned(), port))
}

fn number(db: &str) -> Result<u32, InvalidUrl> {
    match db {
        "" => Ok(0),
        db => db.parse().map_err(|_| InvalidUrl("the database is no number")),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match (&self.user, &self.password) {
            (Some(user), _) => format!("{user}@"),
            (None, Some(_)) => "default@".to_owned(),
            (None, None) => String::new(),
        };
        match &self.place {
            Place::Tcp(host, port) if host.contains(':') => {
                write!(f, "redis://{user}[{host}]:{port}/{}", self.db)
            }
            Place::Tcp(host, port) => write!(f, "redis://{user}{host}:{port}/{}", self.db),
            Place::Unix(path) => write!(f, "redis+unix://{user}{path}?db={}", self.db),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_how_they_are_shown_without_the_password() {
        let rows = [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
            ("redis://:password@host:6330/10", "redis://default@host:6330/10"),
            ("redis://mary:a%3Ab%40c@host/2", "redis://mary@host:6379/2"),
            ("redis://[::1]:7000/", "redis://[::1]:7000/0"),
            ("redis+unix:///run/redis.sock?db=3", "redis+unix:///run/redis.sock?db=3"),
            ("redis+unix://:pw@/run/redis.sock", "redis+unix://default@/run/redis.sock?db=0"),
        ];
        for (text, shown) in rows {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("Url({shown})")));
        }
        assert_eq!(Url::parse("redis://mary:a%3Ab%40c@host/2").unwrap().password.unwrap(), "a:b@c");
        for text in [
            "",
            "redis:",
            "http://host",
            "rediss://host",
            "redis://",
            "redis://host:x",
            "redis://host/x",
            "redis://mary@host",
            "redis://[::1",
            "redis://[::1]7",
            "redis+unix://host/path",
            "redis+unix://",
            "redis+unix:///path?x=1",
            "redis://%ff:%ff@host",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
