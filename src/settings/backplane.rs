//! Where the backplane is: the `[backplane]` table of a configuration file, two variables, two flags.

use super::file::Table;
use crate::backplane::Target;
use crate::backplane::url::Url;

/// Reads the table.
pub(super) fn read(mut table: Table<'_, '_>) -> Option<Target> {
    let (url, prefix, at) = (table.text("url"), table.text("prefix"), table.at());
    let parsed = match &url {
        Some(url) => Url::parse(&url.value).map_err(|why| table.wrong(url.at, "url", why.to_string())).ok(),
        None => {
            if !table.has_had("url") {
                table.wrong(at, "url", "is missing");
            }
            None
        }
    };
    let prefix = prefix.map(|prefix| {
        if prefix.value.is_empty() {
            table.wrong(prefix.at, "prefix", EMPTY);
        }
        prefix.value
    });
    table.finish();
    Some(Target { url: parsed?, prefix: prefix.unwrap_or_else(|| Target::PREFIX.to_owned()) })
}

const EMPTY: &str = "is empty, which would mix the keys with those of others";

/// Takes over what flags or variables say; `named` says which of them.
///
/// # Errors
/// A sentence that never has the password in it.
pub(super) fn apply(
    target: &mut Option<Target>,
    (url, prefix): (Option<String>, Option<String>),
    named: (&str, &str),
) -> Result<(), String> {
    if let Some(url) = url {
        let url = Url::parse(&url).map_err(|why| format!("{}: {why}", named.0))?;
        let prefix = target.take().map_or_else(|| Target::PREFIX.to_owned(), |target| target.prefix);
        *target = Some(Target { url, prefix });
    }
    match (prefix, target) {
        (Some(prefix), _) if prefix.is_empty() => Err(format!("{} {EMPTY}", named.1)),
        (Some(prefix), Some(target)) => {
            target.prefix = prefix;
            Ok(())
        }
        (Some(_), None) => Err(format!("{}: there is no backplane", named.1)),
        (None, _) => Ok(()),
    }
}
