//! How the server logs: `log` and `log_level` of a configuration file, two variables, two flags.

use clap::ArgMatches;
use tracing::level_filters::LevelFilter;

use super::file::Table;

/// In which form what happens is written to stderr, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// For whom it is written.
    pub format: Format,
    /// The least important that is written.
    pub level: LevelFilter,
}

/// For whom a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: a time, a level, a place, a sentence, and fields.
    Human,
    /// For programs: an object in JSON on each line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::Human, level: LevelFilter::INFO }
    }
}

impl Format {
    /// What it is called where it is chosen.
    pub fn name(self) -> &'static str {
        match self {
            Format::Human => "human",
            Format::Json => "json",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let named = [Format::Human, Format::Json].into_iter().find(|format| format.name() == text);
        named.ok_or_else(|| format!("`{text}` is neither human nor json"))
    }
}

fn parse_level(text: &str) -> Result<LevelFilter, String> {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase());
    let level = text.parse().ok().filter(|_| is_word);
    level.ok_or_else(|| format!("`{text}` is none of off, error, warn, info, debug and trace"))
}

/// Reads the two keys.
pub(super) fn read(table: &mut Table<'_, '_>) -> Log {
    let mut log = Log::default();
    if let Some(format) = table.text("log") {
        match Format::parse(&format.value) {
            Ok(format) => log.format = format,
            Err(what) => table.wrong(format.at, "log", what),
        }
    }
    if let Some(level) = table.text("log_level") {
        match parse_level(&level.value) {
            Ok(level) => log.level = level,
            Err(what) => table.wrong(level.at, "log_level", what),
        }
    }
    log
}

/// Takes over what variables say.
///
/// # Errors
/// What is wrong, after the name of the variable.
pub(super) fn apply_env(log: &mut Log, env: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    let (format, level) = (env("FANLINE_LOG"), env("FANLINE_LOG_LEVEL"));
    apply(log, ("FANLINE_LOG", format.as_deref()), ("FANLINE_LOG_LEVEL", level.as_deref()))
}

/// Takes over what flags say.
///
/// # Errors
/// What is wrong, after the flag.
pub(super) fn apply_flags(log: &mut Log, flags: &ArgMatches) -> Result<(), String> {
    let flag = |name| flags.get_one::<String>(name).map(String::as_str);
    apply(log, ("--log", flag("log")), ("--log-level", flag("log-level")))
}

fn apply(
    log: &mut Log,
    (format_name, format): (&str, Option<&str>),
    (level_name, level): (&str, Option<&str>),
) -> Result<(), String> {
    if let Some(text) = format {
        log.format = Format::parse(text).map_err(|what| format!("{format_name}: {what}"))?;
    }
    if let Some(text) = level {
        log.level = parse_level(text).map_err(|what| format!("{level_name}: {what}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_levels_are_words() {
        assert_eq!(Format::parse("json"), Ok(Format::Json));
        assert_eq!(parse_level("debug"), Ok(LevelFilter::DEBUG));
        assert_eq!(parse_level("off"), Ok(LevelFilter::OFF));
        for wrong in ["", "5", "INFO", "loud"] {
            assert!(parse_level(wrong).is_err() && Format::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_names_the_variable() {
        let mut log = Log::default();
        let env = |name: &str| (name == "FANLINE_LOG_LEVEL").then(|| "loud".to_owned());
        let wrong = apply_env(&mut log, env).unwrap_err();
        assert!(wrong.starts_with("FANLINE_LOG_LEVEL: `loud` is none of "), "{wrong}");
    }
}
