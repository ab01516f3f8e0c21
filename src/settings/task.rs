//! What the command line asks for.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Settings, SettingsError, command};

/// What the command line asks for.
#[derive(Debug)]
pub enum Task {
    /// Serve.
    Serve(Box<Settings>),
    /// Look at a configuration file.
    Check(PathBuf),
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
        match flags.subcommand().and_then(|(_, check)| check.get_one::<PathBuf>("file")) {
            Some(file) => Ok(Task::Check(file.clone())),
            None => Settings::of(&flags, env).map(Box::new).map(Task::Serve),
        }
    }
}
