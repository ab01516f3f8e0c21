//! The server under load: the one at a URL, or our own, started for the run.

use super::Common;
use crate::launch::Launched;
use crate::measure::{Cores, keep_to};
use std::error::Error;

/// Where the load goes.
pub(crate) struct Subject {
    /// The address with its route.
    pub(crate) url: String,
    /// The server's process, if it is known.
    pub(crate) pid: Option<u32>,
    /// Who runs on which core, in words.
    pub(crate) place: String,
    /// Ours ends with this value.
    launched: Option<Launched>,
}

impl Subject {
    /// Finds the server, or starts ours with `path` as its route, and goes to the load's core.
    ///
    /// # Errors
    /// When ours cannot be started, or the core is not to be had.
    pub(crate) fn find(common: &Common, path: &str) -> Result<Self, Box<dyn Error>> {
        let launched = if common.url.is_none() { Some(Launched::start(&["--metrics"])?) } else { None };
        let url = match (&common.url, &launched) {
            (None, Some(server)) => server.url(path),
            (url, _) => url.clone().unwrap_or_default(),
        };
        let place = match (common.core, &launched) {
            (core, Some(server)) => part(server.pid(), core)?,
            (Some(core), None) => {
                keep_to(core)?;
                format!("the load is kept to core {core}")
            }
            (None, None) => "the load runs where the kernel likes".to_owned(),
        };
        let pid = launched.as_ref().map(Launched::pid).or(common.pid);
        Ok(Self { url, pid, place, launched })
    }

    /// Another route of the server that was started for the run.
    pub(super) fn own_route(&self, path: &str) -> Option<String> {
        self.launched.as_ref().map(|server| server.url(path))
    }
}

fn part(server: u32, load: Option<usize>) -> Result<String, String> {
    let cores = match load {
        Some(core) => {
            Some(Cores::with_load_on(core).ok_or_else(|| format!("no core {core} beside another"))?)
        }
        None => Cores::two(),
    };
    let Some(cores) = cores else {
        return Ok("server and load share the only core".to_owned());
    };
    cores.part(server)?;
    Ok(format!("our own server is kept to core {} and the load to core {}", cores.server, cores.load))
}
