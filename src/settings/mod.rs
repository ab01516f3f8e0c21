//! What the binary is told: flags, environment variables and a configuration file, in this order of precedence.

mod routes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Deserialize;

use routes::{LimitValue, RouteEntry};

use crate::app::Route;
use crate::http::origin::OriginPolicy;
use crate::limits::{Limit, Limits};

/// Everything the binary can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// Every bound.
    pub limits: Limits,
    /// Whose pages may connect.
    pub origins: OriginPolicy,
    /// Whether permessage-deflate is agreed to.
    pub deflate: bool,
    /// What is where.
    pub routes: Vec<Route>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:8080".into()],
            limits: Limits::default(),
            origins: OriginPolicy::Same,
            deflate: false,
            routes: Route::defaults(),
        }
    }
}

/// Why the binary does not start, in words for the one who started it.
#[derive(Debug)]
pub enum SettingsError {
    /// The flags are not understood, or ask for help; clap knows what to print.
    Flags(clap::Error),
    /// Something else is not understood.
    Invalid(String),
}

impl Settings {
    /// Reads flags, then the variables of `env`, then the file that either names.
    ///
    /// # Errors
    /// [`SettingsError`] with the flag, variable or key at fault.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let flags = command().try_get_matches_from(args).map_err(SettingsError::Flags)?;
        let mut settings = Self::default();
        let file =
            flags.get_one::<PathBuf>("config").cloned().or_else(|| env("FANLINE_CONFIG").map(PathBuf::from));
        if let Some(path) = file {
            settings.apply_file(&path)?;
        }
        settings.apply_env(env).map_err(SettingsError::Invalid)?;
        settings.apply_flags(&flags).map_err(SettingsError::Invalid)?;
        match settings.limits.contradictions().as_slice() {
            [] => Ok(settings),
            some => Err(SettingsError::Invalid(some.join("\n"))),
        }
    }

    fn apply_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let in_file = |why: String| SettingsError::Invalid(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| in_file(error.to_string()))?;
        self.apply_toml(&text).map_err(in_file)
    }

    /// Takes over what a configuration file says.
    ///
    /// # Errors
    /// A sentence with the key at fault.
    pub fn apply_toml(&mut self, text: &str) -> Result<(), String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if let Some(listen) = file.listen {
            self.listen = listen;
        }
        if let Some(origins) = file.origins {
            self.origins = parse_origins(&origins)?;
        }
        self.deflate = file.deflate.unwrap_or(self.deflate);
        for (name, value) in &file.limits {
            let limit = Limit::named(name).ok_or_else(|| format!("limits.{name}: there is no such limit"))?;
            let text = match value {
                LimitValue::Number(number) => number.to_string(),
                LimitValue::Text(text) => text.clone(),
            };
            limit.parse_into(&mut self.limits, &text).map_err(|error| format!("limits.{error}"))?;
        }
        if !file.route.is_empty() {
            self.routes = file.route.into_iter().map(RouteEntry::into_route).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    fn apply_env(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        let list = |text: String| text.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>();
        if let Some(listen) = env("FANLINE_LISTEN") {
            self.listen = list(listen);
        }
        if let Some(origins) = env("FANLINE_ORIGINS") {
            self.origins = parse_origins(&list(origins))?;
        }
        if let Some(deflate) = env("FANLINE_DEFLATE") {
            let invalid = || format!("FANLINE_DEFLATE: `{deflate}` is neither true nor false");
            self.deflate = deflate.parse().map_err(|_| invalid())?;
        }
        for limit in Limits::TABLE {
            if let Some(text) = env(&format!("FANLINE_{}", limit.name.to_uppercase())) {
                limit.parse_into(&mut self.limits, &text).map_err(|error| format!("FANLINE_{error}"))?;
            }
        }
        Ok(())
    }

    fn apply_flags(&mut self, flags: &ArgMatches) -> Result<(), String> {
        if let Some(listen) = flags.get_many::<String>("listen") {
            self.listen = listen.cloned().collect();
        }
        if let Some(origins) = flags.get_many::<String>("origin") {
            self.origins = parse_origins(&origins.cloned().collect::<Vec<_>>())?;
        }
        self.deflate |= flags.get_flag("deflate");
        for limit in Limits::TABLE {
            if let Some(text) = flags.get_one::<String>(limit.name) {
                limit.parse_into(&mut self.limits, text).map_err(|error| format!("--{error}"))?;
            }
        }
        Ok(())
    }
}

/// The flags: the few that everybody needs, then one for each limit.
pub fn command() -> Command {
    let defaults = Limits::default();
    let limits = Limits::TABLE.iter().map(|limit| {
        Arg::new(limit.name)
            .long(limit.name.replace('_', "-"))
            .value_name(limit.show(&defaults))
            .help(limit.reason)
            .help_heading("Limits, each shown with its default")
    });
    Command::new("fanline")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A WebSocket server on one thread: a room is a log, a connection is a cursor.")
        .after_help(
            "Every flag is also a variable, as FANLINE_LISTEN or FANLINE_WALK_SLICE, and a key of the file.\n\
             Flags go before variables, variables before the file.",
        )
        .arg(
            Arg::new("listen").long("listen").value_name("ADDR").action(ArgAction::Append).help(
                "Address to listen on, 127.0.0.1:8080 unless given; may be repeated, and port 0 picks one",
            ),
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Configuration file (TOML)"),
        )
        .arg(Arg::new("origin").long("origin").value_name("ORIGIN").action(ArgAction::Append).help(
            "Origin whose pages may connect besides the server's own, such as https://example.org; * for any",
        ))
        .arg(
            Arg::new("deflate")
                .long("deflate")
                .action(ArgAction::SetTrue)
                .help("Agree to permessage-deflate where a client offers it"),
        )
        .args(limits)
}

fn parse_origins(origins: &[String]) -> Result<OriginPolicy, String> {
    if origins.iter().any(|origin| origin == "*") {
        return Ok(OriginPolicy::Any);
    }
    let is_origin = |origin: &&String| {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        rest.is_some_and(|host| !host.is_empty() && !host.contains('/'))
    };
    match origins.iter().find(|origin| !is_origin(origin)) {
        Some(origin) => Err(format!("origins: `{origin}` is not an origin such as https://example.org")),
        None if origins.is_empty() => Ok(OriginPolicy::Same),
        None => Ok(OriginPolicy::Listed(origins.to_vec())),
    }
}

/// The configuration file. A key that is not here is an error that names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<Vec<String>>,
    origins: Option<Vec<String>>,
    deflate: Option<bool>,
    #[serde(default)]
    limits: BTreeMap<String, LimitValue>,
    #[serde(default)]
    route: Vec<RouteEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, String> {
        let args = std::iter::once("fanline").chain(args.iter().copied()).map(OsString::from);
        let get = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::read(args, get).map_err(|error| match error {
            SettingsError::Flags(error) => error.to_string(),
            SettingsError::Invalid(why) => why,
        })
    }

    #[test]
    fn flags_go_before_variables_and_every_limit_is_both() {
        assert_eq!(read(&[], &[]).unwrap(), Settings::default());
        for limit in Limits::TABLE {
            let flag = format!("--{}", limit.name.replace('_', "-"));
            let shown = limit.show(&Limits::default());
            let variable = format!("FANLINE_{}", limit.name.to_uppercase());
            assert!(read(&[&flag, &shown], &[]).is_ok(), "{flag}");
            assert!(read(&[], &[(&variable, "nonsense")]).unwrap_err().contains(limit.name), "{variable}");
        }
        let both =
            read(&["--walk-slice", "7"], &[("FANLINE_WALK_SLICE", "8"), ("FANLINE_READ_BUDGET", "9KiB")]);
        let limits = both.unwrap().limits;
        assert_eq!((limits.walk_slice, limits.read_budget), (7, 9 << 10));
        let listen = read(&["--listen", "[::1]:0", "--listen", "127.0.0.1:1"], &[("FANLINE_LISTEN", "x")]);
        assert_eq!(listen.unwrap().listen, ["[::1]:0", "127.0.0.1:1"]);
    }

    #[test]
    fn a_configuration_file_and_what_is_wrong_with_others() {
        let mut settings = Settings::default();
        let file = "
            listen = ['127.0.0.1:9000']
            origins = ['https://example.org']
            deflate = true
            [limits]
            message_bytes_max = '1MiB'
            walk_slice = 64
            [[route]]
            path = '/chat/{room}'
            mode = 'room'
            greeting = '欢迎大哥光临!'
            exit_word = 'exit'
            subprotocols = ['chat', 'superchat']
            subprotocol_required = true";
        settings.apply_toml(file).unwrap();
        assert_eq!((settings.limits.message_bytes_max, settings.limits.walk_slice), (1 << 20, 64));
        assert_eq!(settings.routes.len(), 1);
        assert_eq!(settings.routes[0].subprotocols, ["chat", "superchat"]);
        let rows = [
            ("nonsense = 1", "nonsense"),
            ("[limits]\nnonsense = 1", "limits.nonsense"),
            ("[limits]\nwalk_slice = '1KiB'", "limits.walk_slice"),
            ("origins = ['example.org']", "origins"),
            ("[[route]]\npath = 'x'\nmode = 'echo'", "route.path"),
            ("[[route]]\npath = '/x'\nmode = 'other'", "mode"),
            ("[[route]]\npath = '/x'\nmode = 'echo'\ncolour = 1", "colour"),
            ("[[route]]\npath = '/x'\nmode = 'echo'\nsubprotocol_required = true", "subprotocol_required"),
        ];
        for (text, named) in rows {
            let why = Settings::default().apply_toml(text).unwrap_err();
            assert!(why.contains(named), "{text}: {why}");
        }
    }

    #[test]
    fn contradictions_are_found_before_anything_starts() {
        let why = read(&["--outbound-bytes-low", "2MiB"], &[]).unwrap_err();
        assert!(why.contains("outbound_bytes_low is above outbound_bytes_high"), "{why}");
        assert!(read(&["--nonsense"], &[]).unwrap_err().contains("--nonsense"));
        assert!(read(&["--config", "/nowhere/at/all"], &[]).unwrap_err().contains("/nowhere/at/all"));
    }
}
