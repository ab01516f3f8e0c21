//! Who may look inside and act: the `[admin]` table of a configuration file, three variables, two flags.

use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::auth::{SecretEntry, TokenEntry};
use super::file::Table;
use super::{Around, read_listen};
use crate::auth::StaticToken;

/// Where the admin API and its page are, and for whom. Without either they are nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The addresses of listeners of its own; it is nowhere else then.
    pub listen: Vec<String>,
    /// The token that has to be shown, wherever it is.
    pub token: Option<StaticToken>,
}

/// Reads the table; the token is read from where it stands.
pub(super) fn read(mut table: Table<'_, '_>, around: Around<'_>) -> Admin {
    let (at, listen) = (table.at(), read_listen(&mut table, "listen").unwrap_or_default());
    let token = table.table("token").and_then(|mut token| {
        let at = token.at();
        let entry = match (token.text("file"), token.text("env")) {
            (Some(file), None) => Some(SecretEntry::File { file: file.value.into() }),
            (None, Some(name)) => Some(SecretEntry::Env { env: name.value }),
            (_, _) => None,
        };
        let made = match entry {
            Some(entry) => entry.read("", around).and_then(|bytes| made("", &bytes)),
            None => Err("stands where { file = \"…\" } or { env = \"…\" } says".to_owned()),
        };
        let made = made.map_err(|what| token.wrong_itself(at, what.trim_start_matches(": "))).ok();
        token.finish();
        made
    });
    if listen.is_empty() && !table.has_had("token") && !table.has_had("listen") {
        table.wrong(at, "listen", "is missing, and so is token: the admin API would be nowhere");
    }
    table.finish();
    Admin { listen, token }
}

/// Takes over what variables say.
///
/// # Errors
/// A sentence that never has the token in it.
pub(super) fn apply_env(admin: &mut Admin, env: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    if let Some(listen) = env("FANLINE_ADMIN_LISTEN") {
        admin.listen = listen.split(',').map(|item| item.trim().to_owned()).collect();
    }
    if let Some(file) = env("FANLINE_ADMIN_TOKEN_FILE") {
        admin.token = Some(from_file("FANLINE_ADMIN_TOKEN_FILE", file.into())?);
    }
    if let Some(token) = env("FANLINE_ADMIN_TOKEN") {
        admin.token = Some(made("FANLINE_ADMIN_TOKEN", token.as_bytes())?);
    }
    Ok(())
}

/// Takes over what flags say.
///
/// # Errors
/// A sentence that never has the token in it.
pub(super) fn apply_flags(admin: &mut Admin, flags: &ArgMatches) -> Result<(), String> {
    if let Some(listen) = flags.get_many::<String>("admin-listen") {
        admin.listen = listen.cloned().collect();
    }
    if let Some(file) = flags.get_one::<PathBuf>("admin-token-file") {
        admin.token = Some(from_file("--admin-token-file", file.clone())?);
    }
    Ok(())
}

fn from_file(named: &str, file: PathBuf) -> Result<StaticToken, String> {
    let around = Around { env: &|_| None, folder: Path::new("") };
    made(named, &SecretEntry::File { file }.read(named, around)?)
}

fn made(named: &str, token: &[u8]) -> Result<StaticToken, String> {
    match token.len() < TokenEntry::BYTES_MIN {
        true => Err(format!("{named}: a token has at least {} bytes", TokenEntry::BYTES_MIN)),
        false => Ok(StaticToken::from_text(token, "admin", None)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn read(text: &str) -> Result<Admin, Vec<String>> {
        let env = |name: &str| match name {
            "TOKEN" => Some(TOKEN.to_owned()),
            "SHORT" => Some("hush".to_owned()),
            _ => None,
        };
        let settings = Settings::from_toml(text, Around { env: &env, folder: Path::new("") });
        settings
            .map(|settings| settings.admin)
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_table_names_listeners_a_token_or_both() {
        let token = Some(StaticToken::from_text(TOKEN.as_bytes(), "admin", None));
        assert_eq!(read(""), Ok(Admin::default()));
        let both =
            read("[admin]\nlisten = ['127.0.0.1:9001', 'unix:/run/a.sock']\ntoken = { env = 'TOKEN' }");
        let listen = vec!["127.0.0.1:9001".to_owned(), "unix:/run/a.sock".to_owned()];
        assert_eq!(both, Ok(Admin { listen, token: token.clone() }));
        assert_eq!(read("[admin.token]\nenv = 'TOKEN'"), Ok(Admin { listen: Vec::new(), token }));
    }

    #[test]
    fn what_is_wrong_with_the_table_is_said_without_the_token() {
        let rows = [
            ("[admin]", "1: admin.listen: is missing"),
            ("[admin]\nlisten = ['nowhere']", "2: admin.listen: `nowhere` is not an address"),
            ("[admin]\ntoken = { env = 'SHORT' }", "2: admin.token: a token has at least 16 bytes"),
            ("[admin]\ntoken = { env = 'NONE' }", "2: admin.token: the variable NONE is not set"),
            ("[admin]\ntoken = { file = '/none' }", "2: admin.token: /none: No such file"),
            ("[admin]\ntoken = {}", "2: admin.token: stands where"),
            ("[admin]\ntoken = 'hush hush hush hush'", "2: admin.token: expected a table, found"),
            ("[admin]\ntoken = { env = 'TOKEN', rooms = [] }", "2: admin.token.rooms: there is no such key"),
            ("[admin]\nlistne = []", "2: admin.listne: there is no such key; did you mean"),
        ];
        for (text, want) in rows {
            let wrong = read(text).unwrap_err();
            assert!(wrong.iter().any(|wrong| wrong.starts_with(want)), "{text}: {wrong:?}");
            assert!(wrong.iter().all(|wrong| !wrong.contains("hush")), "{wrong:?}");
        }
    }

    #[test]
    fn variables_bring_a_token_or_its_file() {
        let apply = |name: &str, value: &str| {
            let mut admin = Admin::default();
            apply_env(&mut admin, |asked| (asked == name).then(|| value.to_owned())).map(|()| admin)
        };
        let token = Some(StaticToken::from_text(TOKEN.as_bytes(), "admin", None));
        assert_eq!(apply("FANLINE_ADMIN_TOKEN", TOKEN).unwrap().token, token);
        assert!(apply("FANLINE_ADMIN_TOKEN", "hush").is_err_and(|why| !why.contains("hush")));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
        assert_eq!(apply("FANLINE_ADMIN_TOKEN_FILE", file.path().to_str().unwrap()).unwrap().token, token);
        assert_eq!(apply("FANLINE_ADMIN_LISTEN", "[::1]:1, unix:/a").unwrap().listen, ["[::1]:1", "unix:/a"]);
    }
}
