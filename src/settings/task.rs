//! What the command line asks for.

use std::ffi::OsString;
use std::path::PathBuf;

use super::pages::Page;
use super::{Replay, Settings, SettingsError, command};
use crate::cli::Errand;

/// What the command line asks for.
#[derive(Debug)]
pub enum Task {
    /// Serve.
    Serve(Box<Settings>),
    /// Look at a configuration file.
    Check(PathBuf),
    /// Play a recording.
    Replay(Replay),
    /// Ask a running server.
    Ask(Box<Errand>),
    /// Print a page for the system's own tools.
    Print(Page),
}

impl Task {
    /// Reads the command line, and what it asks for needs.
    ///
    /// # Errors
    /// [`SettingsError`] with the flag, variable or key at fault.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let flags = command().try_get_matches_from(args).map_err(SettingsError::Flags)?;
        let Some((name, args)) = flags.subcommand() else {
            return Settings::of(&flags, env).map(Box::new).map(Task::Serve);
        };
        if name == "replay"
            && let Some(replay) = Replay::of(args)
        {
            return Ok(Task::Replay(replay));
        }
        if let Some(page) = Page::new(name, args) {
            return Ok(Task::Print(page));
        }
        match (Errand::new(name, args), args.try_get_one::<PathBuf>("file")) {
            (Some(errand), _) => Ok(Task::Ask(Box::new(errand))),
            (None, Ok(Some(file))) => Ok(Task::Check(file.clone())),
            (None, _) => Err(SettingsError::Invalid(format!("`{name}` is no command"))),
        }
    }
}
