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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Around, Settings};
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let settings = Settings::from_toml(text, Around { env: &|_| None, folder: Path::new("") });
        settings.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn row_50_a_file_names_the_backplane_and_nobody_is_shown_its_password() {
        let text = "[backplane]\nurl = 'redis://mary:secret@host/2'\nprefix = 'chat:'";
        let settings = Settings::from_toml(text, Around { env: &|_| None, folder: Path::new("") }).unwrap();
        let summary = settings.summary();
        assert!(
            summary.contains("backplane = redis://mary@host:6379/2, keys begin with chat: (none)"),
            "{summary}"
        );
        assert!(!summary.contains("secret") && !format!("{settings:?}").contains("secret"));
        let wrong = mistakes("[backplane]\nurl = 'redis://mary:secret@host/x'\nprefix = ''\nport = 1");
        let starts =
            ["2: backplane.url: the database", "3: backplane.prefix: is empty", "4: backplane.port:"];
        for (wrong, start) in wrong.iter().zip(starts) {
            assert!(wrong.starts_with(start) && !wrong.contains("secret"), "{wrong}");
        }
        assert_eq!(wrong.len(), 3);
        assert!(mistakes("[backplane]\nprefix = 'a'")[0].contains("url: is missing"));
    }

    #[test]
    fn a_flag_changes_the_url_and_keeps_the_prefix() {
        let mut target = None;
        let some = |text: &str| Some(text.to_owned());
        assert!(apply(&mut target, (None, some("a:")), ("URL", "PREFIX")).is_err(), "of what?");
        apply(&mut target, (some("redis://one"), some("a:")), ("URL", "PREFIX")).unwrap();
        apply(&mut target, (some("redis://two"), None), ("URL", "PREFIX")).unwrap();
        let target = target.unwrap();
        assert_eq!(
            (target.url.to_string(), target.prefix),
            ("redis://two:6379/0".to_owned(), "a:".to_owned())
        );
        let why = apply(&mut None, (some("http://u:secret@x"), None), ("--backplane-url", "")).unwrap_err();
        assert!(why.starts_with("--backplane-url: ") && !why.contains("secret"), "{why}");
    }
}
