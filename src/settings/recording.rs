//! What is asked for a recording, and the settings as it keeps them: those that matter to the engine, and no secret.

use std::path::PathBuf;

use clap::ArgMatches;
use toml::{Table, Value};

use super::file::Source;
use super::{Mistake, Settings};
use crate::auth::Gate;
use crate::http::origin::OriginPolicy;
use crate::limits::Limits;
use crate::record::{Filler, Header};

/// Whether there is to be a recording, and of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The file.
    pub file: Option<PathBuf>,
    /// Whether what people say is kept as it comes.
    pub bodies: bool,
}

/// What is to be played, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The recording.
    pub file: PathBuf,
    /// A configuration in place of the recorded one.
    pub config: Option<PathBuf>,
    /// The connection whose bytes are printed.
    pub connection: Option<u64>,
    /// The turn after which it ends.
    pub until: Option<u64>,
}

impl Replay {
    pub(super) fn of(args: &ArgMatches) -> Option<Self> {
        Some(Self {
            file: args.get_one::<PathBuf>("file")?.clone(),
            config: args.get_one::<PathBuf>("config").cloned(),
            connection: args.get_one::<u64>("connection").copied(),
            until: args.get_one::<u64>("until").copied(),
        })
    }
}

impl Settings {
    /// What keeps these settings from being recorded, if they are to be.
    pub(super) fn unrecordable(&self) -> Option<&'static str> {
        let recording = &self.recording;
        let reasons = [
            (self.backplane.is_some(), "record: what comes through a backplane is not recorded yet"),
            (self.takeover.is_some(), "record: what is taken over from another process is not recorded yet"),
            (
                !self.admin.listen.is_empty() || self.admin.token.is_some(),
                "record: what the admin API answers is not recorded yet",
            ),
            (self.static_folder.is_some(), "record: the files of `static` are not recorded yet"),
            (
                self.deflate && !recording.bodies,
                "record: compressed messages can only be recorded as they are: with record-bodies, or without deflate",
            ),
        ];
        let reason = reasons.into_iter().find(|(holds, _)| *holds).map(|(_, why)| why);
        match &recording.file {
            Some(_) => reason,
            None => recording.bodies.then_some("record-bodies: without record there is no recording"),
        }
    }

    /// The header of a recording made with these settings.
    ///
    /// # Errors
    /// Where the configuration file cannot be read again.
    pub fn recording_header(&self, filler: &Filler) -> Result<Header, String> {
        Ok(Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            start_ns: 0,
            memory: None,
            has_bodies: self.recording.bodies,
            has_gate: self.gate != Gate::default(),
            settings: self.recorded(filler)?,
        })
    }

    /// The settings that matter to the engine, as a configuration file.
    ///
    /// # Errors
    /// Where the configuration file cannot be read again.
    pub fn recorded(&self, filler: &Filler) -> Result<String, String> {
        let mut table = Table::new();
        for (name, flag) in [("deflate", self.deflate), ("ledger", self.ledger), ("metrics", self.metrics)] {
            table.insert(name.into(), flag.into());
        }
        let origins = match &self.origins {
            OriginPolicy::Same => Vec::new(),
            OriginPolicy::Any => vec!["*".to_owned()],
            OriginPolicy::Listed(origins) => origins.clone(),
        };
        table.insert("origins".into(), origins.into());
        let trusted = self.trusted_proxies.to_string();
        let trusted = trusted.split(", ").filter(|name| !name.is_empty()).map(str::to_owned);
        table.insert("trusted_proxies".into(), trusted.collect::<Vec<_>>().into());
        let limits =
            Limits::TABLE.iter().map(|limit| (limit.name.to_owned(), limit.show(&self.limits).into()));
        table.insert("limits".into(), Value::Table(limits.collect()));
        if let Some(routes) = self.routes_as_written()? {
            let routes = routes.into_iter().map(|route| self.recorded_route(route, filler));
            table.insert("route".into(), Value::Array(routes.collect()));
        }
        Ok(table.to_string())
    }

    /// The routes as the configuration file has them; `None` where it has none.
    fn routes_as_written(&self) -> Result<Option<Vec<Value>>, String> {
        let Some(file) = &self.file else { return Ok(None) };
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut table: Table = text.parse().map_err(|_| format!("{}: it is no TOML", file.display()))?;
        match table.remove("route") {
            Some(Value::Array(routes)) => Ok(Some(routes)),
            Some(_) | None => Ok(None),
        }
    }

    /// A route as it serves here. Words become what they are in the recording when somebody says them.
    fn recorded_route(&self, mut route: Value, filler: &Filler) -> Value {
        if !self.recording.bodies {
            if let Some(Value::String(word)) = route.get_mut("exit_word") {
                *word = filler.text(word);
            }
            if let Some(Value::Array(names)) = route.get_mut("subprotocols") {
                for name in names {
                    if let Value::String(name) = name {
                        *name = filler.protocol(name);
                    }
                }
            }
        }
        route
    }

    /// Takes over what a recording says was in use. It names no file, and nothing else that this machine would be asked for.
    ///
    /// # Errors
    /// Every mistake in it, in the order of the lines.
    pub fn from_recording(text: &str) -> Result<Self, Vec<Mistake>> {
        let source = Source::new(text);
        let mut settings = Self::default();
        let mut table = source.parse();
        settings.apply_engine(&mut table, &source);
        // Flags may have set limits below what the file said of a route: the lower of the two held, and does again.
        let (message_bytes_max, room_name_bytes_max) = (usize::MAX, usize::MAX);
        let limits = Limits { message_bytes_max, room_name_bytes_max, ..settings.limits.clone() };
        settings.apply_routes(&mut table, &source, &limits);
        table.finish();
        match source.into_mistakes() {
            mistakes if mistakes.is_empty() => Ok(settings),
            mistakes => Err(mistakes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_of_the_settings_makes_the_same_ones_but_for_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fanline.toml");
        let text = "deflate = true\norigins = [\"https://a.example\"]\ntrusted_proxies = [\"10.0.0.0/8\", \"unix\"]\n\
                    [auth]\nanonymous = \"read\"\n[auth.cookie]\nname = \"session\"\n\
                    secrets = { env = \"SECRET\" }\n[limits]\nwalk_slice = 7\n\
                    [[route]]\npath = \"/x\"\nmode = \"room\"\ngreeting = \"hi \\\"you\\\"\"\nexit_word = \"exit\"\n\
                    subprotocols = [\"chat\"]\n\
                    history = { messages = 3, bytes = \"1KiB\", age = \"5m\" }\n";
        std::fs::write(&file, text).unwrap();
        let env = |_: &str| Some("0123456789abcdef0123456789abcdef".to_owned());
        let mut settings = Settings::from_file(&file, &env).unwrap();
        let filler = Filler::default();
        for bodies in [true, false] {
            settings.recording.bodies = bodies;
            let recorded = settings.recorded(&filler).unwrap();
            assert!(!recorded.contains("session") && !recorded.contains("abcdef"), "{recorded}");
            let again = Settings::from_recording(&recorded).unwrap();
            assert_eq!(again.limits, settings.limits);
            assert_eq!((&again.origins, again.deflate), (&settings.origins, true));
            assert_eq!(again.trusted_proxies, settings.trusted_proxies);
            assert_eq!(again.routes[0].greeting, settings.routes[0].greeting);
            assert_eq!(again.routes[0].keep, settings.routes[0].keep);
            assert_eq!(again.routes[0].exit_word.as_deref() == Some("exit"), bodies);
            assert_eq!(again.routes[0].subprotocols == ["chat"], bodies);
        }
    }

    #[test]
    fn a_recordings_settings_name_no_file_and_no_other_thing_of_the_machine_that_plays_it() {
        let rows = [
            "static = '/'",
            "takeover = '/tmp/x'",
            "listen = ['127.0.0.1:0']",
            "[tls]\ncert = '/dev/zero'",
            "[admin]\ntoken = { file = '/dev/zero' }",
            "[auth.cookie]\nname = 'x'\nsecrets = { file = '/dev/zero' }",
            "[backplane]\nurl = 'redis://127.0.0.1'",
        ];
        for text in rows {
            let mistakes = Settings::from_recording(text).unwrap_err();
            assert!(mistakes[0].what.starts_with("there is no such key"), "{text}: {mistakes:?}");
        }
    }

    #[test]
    fn a_route_above_a_limit_that_a_flag_has_set_is_played_as_it_was() {
        let text = "[limits]\nmessage_bytes_max = '1KiB'\nroom_name_bytes_max = 3\n\
                    [[route]]\npath = '/x'\nmode = 'room'\nroom = 'lobby'\nmessage_bytes_max = '4KiB'\n";
        let settings = Settings::from_recording(text).unwrap();
        assert_eq!(
            (settings.limits.message_bytes_max, settings.routes[0].fixed_room()),
            (1024, "lobby".into())
        );
    }
}
