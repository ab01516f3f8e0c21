//! Where is listened, and which proxies are trusted.

use std::net::SocketAddr;

use super::file::Table;
use crate::{Address, Networks};

/// Reads a list of addresses.
pub(super) fn read_listen(table: &mut Table<'_, '_>, key: &'static str) -> Option<Vec<String>> {
    let addrs = table.texts(key)?;
    for (count, addr) in addrs.iter().enumerate() {
        if !is_address(&addr.value) {
            let what = format!(
                "`{}` is not an address such as 127.0.0.1:8080, [::1]:8080 or unix:/run/fanline.sock",
                addr.value
            );
            table.wrong(addr.at, key, what);
        } else if !addr.value.ends_with(":0") && addrs[..count].iter().any(|other| other.value == addr.value)
        {
            table.wrong(addr.at, key, format!("`{}` stands there twice", addr.value));
        }
    }
    Some(addrs.into_iter().map(|addr| addr.value).collect())
}

/// Whether this can be listened on, as far as that is seen without a look at the network.
fn is_address(text: &str) -> bool {
    if text.starts_with(Address::UNIX) {
        return Address::try_from(text).is_ok();
    }
    let is_name = |(host, port): (&str, &str)| {
        !host.is_empty() && !host.contains([':', '/']) && port.parse::<u16>().is_ok()
    };
    text.parse::<SocketAddr>().is_ok() || text.rsplit_once(':').is_some_and(is_name)
}

/// Reads the proxies that are trusted.
pub(super) fn read_networks(table: &mut Table<'_, '_>) -> Networks {
    let texts = table.texts("trusted_proxies").unwrap_or_default();
    for text in &texts {
        if let Err(wrong) = Networks::parse(&[&text.value]) {
            table.wrong(text.at, "trusted_proxies", not_a_network(&wrong));
        }
    }
    let texts: Vec<String> = texts.into_iter().map(|text| text.value).collect();
    Networks::parse(&texts).unwrap_or_default()
}

/// As [`read_networks`], from a flag or a variable of this name.
pub(super) fn parse_networks(named: &str, texts: &[String]) -> Result<Networks, String> {
    Networks::parse(texts).map_err(|wrong| format!("{named}: {}", not_a_network(&wrong)))
}

fn not_a_network(text: &str) -> String {
    format!("`{text}` is not a network such as 10.0.0.0/8, an address, or \"unix\"")
}

/// Reads the permissions of a file, in the digits that chmod takes.
pub(super) fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| (1..=0o777).contains(mode));
    mode.filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| format!("`{text}` are not a file's permissions, such as 0660"))
}
