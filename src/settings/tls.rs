//! The `[tls]` table of a configuration file.

use std::path::{Path, PathBuf};

use super::file::Table;
use super::read_listen;

/// Where `wss` is listened for, and with which certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The addresses.
    pub listen: Vec<String>,
    /// The addresses that only proxies reach, which send a PROXY header before TLS.
    pub proxy_listen: Vec<String>,
    /// The file with the certificate, followed by those that vouch for it.
    pub cert: Option<PathBuf>,
    /// The file with its private key.
    pub key: Option<PathBuf>,
}

impl Tls {
    /// All addresses.
    pub fn listens(&self) -> impl Iterator<Item = &String> {
        self.listen.iter().chain(&self.proxy_listen)
    }

    /// Says what is missing, or has no use.
    pub fn contradiction(&self) -> Option<&'static str> {
        match (self.listens().next().is_none(), &self.cert, &self.key) {
            (true, None, None) | (false, Some(_), Some(_)) => None,
            (false, _, _) => Some("tls needs a certificate and a key: tls.cert and tls.key"),
            (true, _, _) => Some("a certificate is of no use where tls.listen names no address"),
        }
    }
}

/// Reads the table; paths in it are meant from `folder`.
pub(super) fn read(mut table: Table<'_, '_>, folder: &Path) -> Tls {
    let at = table.at();
    let listen = read_listen(&mut table, "listen").unwrap_or_default();
    let proxy_listen = read_listen(&mut table, "proxy_listen").unwrap_or_default();
    let mut path = |key: &'static str| {
        let named = table.text(key)?;
        let path = folder.join(&named.value);
        if let Err(error) = std::fs::File::open(&path) {
            table.wrong(named.at, key, format!("`{}` cannot be read: {error}", path.display()));
        }
        Some(path)
    };
    let (cert, key) = (path("cert"), path("key"));
    let tls = Tls { listen, proxy_listen, cert, key };
    let is_mentioned = table.has_had("cert") && table.has_had("key");
    if let Some(what) = tls.contradiction().filter(|_| !is_mentioned || tls.listens().next().is_none()) {
        table.wrong(at, "listen", what);
    }
    table.finish();
    tls
}
