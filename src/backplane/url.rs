//! Where Redis is, and who one is there: `redis://user:password@host:port,host:port/db`, `rediss://` with TLS,
//! `redis+cluster://` and `rediss+cluster://` for Redis Cluster, `redis+unix://user:password@/path?db=`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use percent_encoding::percent_decode_str;

/// What a backplane's URL says.
///
/// Shown, it has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Where servers listen; there is at least one.
    pub places: Vec<Place>,
    /// Whether they are some of a Redis Cluster, and not the same data in several places.
    pub is_cluster: bool,
    /// How they prove who they are, where they speak TLS.
    pub trust: Option<Trust>,
    /// The user; the server's default one, where only a password is given.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database.
    pub db: u32,
}

/// Whose word on a server's certificate counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// That of the authorities that this machine knows.
    Machine,
    /// That of the authorities in this PEM file.
    File(String),
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A host's name or address, and a port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp(host, port) => write!(f, "{host}:{port}"),
            Place::Unix(path) => f.write_str(path),
        }
    }
}

/// One server: what it is called, and the address that the name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// How it is named, which is what its certificate is for.
    pub place: Place,
    /// Its address, where that is known.
    pub addr: Option<SocketAddr>,
}

impl Server {
    /// A server whose address is known only if its name is one.
    pub fn named(place: Place) -> Self {
        let addr = match &place {
            Place::Tcp(host, port) => host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, *port)),
            Place::Unix(_) => None,
        };
        Self { place, addr }
    }
}

/// Text that is no URL of a backplane, and why not; it never shows what may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUrl(&'static str);

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; it is written redis://user:password@host:port/db, with rediss for TLS and +cluster for Redis \
             Cluster, or redis+unix:///path?db=",
            self.0
        )
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
        let unknown = InvalidUrl("the URL of the backplane is not understood");
        let (scheme, rest) = text.split_once("://").ok_or(unknown)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (is_tls, is_cluster) = match scheme {
            "redis+unix" => return Self::parse_unix(rest, query),
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+cluster" => (false, true),
            "rediss+cluster" => (true, true),
            _ => return Err(unknown),
        };
        let trust = match (is_tls, query.split_once('=')) {
            (true, None) if query.is_empty() => Some(Trust::Machine),
            (true, Some(("ca", path))) if !path.is_empty() => Some(Trust::File(decoded(path)?)),
            (false, None) if query.is_empty() => None,
            (true, _) => return Err(InvalidUrl("only ca, a file of certificates, can be asked for")),
            (false, _) => return Err(InvalidUrl("nothing can be asked for without TLS")),
        };
        let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, password, hosts) = split_user(authority)?;
        let places = hosts.split(',').map(tcp).collect::<Result<Vec<_>, _>>()?;
        let db = number(db)?;
        if is_cluster && db > 0 {
            return Err(InvalidUrl("Redis Cluster has no databases but 0"));
        }
        Ok(Self { places, is_cluster, trust, user, password, db })
    }

    fn parse_unix(rest: &str, query: &str) -> Result<Self, InvalidUrl> {
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
        let places = vec![Place::Unix(decoded(path)?)];
        Ok(Self { places, is_cluster: false, trust: None, user, password, db: number(db)? })
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
        if let [Place::Unix(path)] = &self.places[..] {
            return write!(f, "redis+unix://{user}{path}?db={}", self.db);
        }
        let tls = if self.trust.is_some() { "s" } else { "" };
        let cluster = if self.is_cluster { "+cluster" } else { "" };
        let places: Vec<String> = self.places.iter().map(Place::to_string).collect();
        write!(f, "redis{tls}{cluster}://{user}{}/", places.join(","))?;
        if !self.is_cluster {
            write!(f, "{}", self.db)?;
        }
        match &self.trust {
            Some(Trust::File(path)) => write!(f, "?ca={path}"),
            Some(Trust::Machine) | None => Ok(()),
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
            ("redis://one,two:7000,[::1]/3", "redis://one:6379,two:7000,[::1]:6379/3"),
            ("rediss://mary:secret@host", "rediss://mary@host:6379/0"),
            ("rediss://host/1?ca=/etc/a%20b.pem", "rediss://host:6379/1?ca=/etc/a b.pem"),
            ("redis+cluster://:pw@a:7000,b:7001/", "redis+cluster://default@a:7000,b:7001/"),
            ("rediss+cluster://a?ca=ca.pem", "rediss+cluster://a:6379/?ca=ca.pem"),
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
            "rediss://host?ca=",
            "rediss://host?verify=no",
            "redis://host?ca=/ca.pem",
            "redis+cluster://host/1",
            "redis+cluster://",
            "redis://one,,two",
            "redis://one,two:x",
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
