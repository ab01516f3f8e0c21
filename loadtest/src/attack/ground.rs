//! Where an attack takes place: the server at a URL, or our own, started for it.

use super::Common;
use super::crowd::Plan;
use crate::launch::Launched;
use crate::measure::{Cores, Holdings};
use crate::reactor::Target;
use rustix::process::{Pid, Signal, kill_process};
use std::error::Error;
use std::io::Write as _;
use tempfile::NamedTempFile;

/// Deliveries that a room's bystanders get in a second, all together, where an attack says nothing else.
const ROOM_RATE: f64 = 10.0;

/// Bytes of such a message.
const ROOM_BYTES: usize = 64;

/// A server under attack.
pub(crate) struct Ground {
    /// `ws://HOST:PORT`.
    pub(crate) origin: String,
    /// Its process, if it is known.
    pub(crate) pid: Option<u32>,
    /// Who runs where, in words.
    pub(crate) place: String,
    port: u16,
    /// Ours ends with this value.
    launched: Option<Launched>,
    /// Ours reads it again at SIGHUP.
    _configuration: Option<NamedTempFile>,
}

impl Ground {
    /// Finds the server, or starts ours with this configuration file.
    ///
    /// # Errors
    /// When ours cannot be started, or there is no such address.
    pub(crate) fn find(common: &Common, configuration: &str) -> Result<Self, Box<dyn Error>> {
        if let Some(url) = &common.url {
            return Ok(Self::at(url, common.pid)?);
        }
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
        file.write_all(configuration.as_bytes())?;
        let path = file.path().to_str().ok_or("the temporary folder's path is no text")?;
        let launched = Launched::start(&["--config", path])?;
        let place = match Cores::two() {
            Some(cores) => {
                cores.part(launched.pid())?;
                format!("our own server is kept to core {} and the load to core {}", cores.server, cores.load)
            }
            None => "server and load share the only core".to_owned(),
        };
        let ground = Self::at(&launched.url(""), Some(launched.pid()))?;
        Ok(Self { place, launched: Some(launched), _configuration: Some(file), ..ground })
    }

    /// The server at a URL.
    ///
    /// # Errors
    /// In words, when it is no such address.
    pub(crate) fn at(url: &str, pid: Option<u32>) -> Result<Self, String> {
        let origin = url.trim_end_matches('/').to_owned();
        let port = Target::plain(&origin)?.address.port();
        let place = "the load runs where the kernel likes".to_owned();
        Ok(Self { origin, pid, place, port, launched: None, _configuration: None })
    }

    /// Whether we started it, so that its limits are known and it may be sent a signal.
    pub(crate) fn is_ours(&self) -> bool {
        self.launched.is_some()
    }

    /// The address of a route.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// What the server holds now, if its process is known and there.
    pub(crate) fn holdings(&self) -> Option<Holdings> {
        self.pid.and_then(|pid| Holdings::of(pid, self.port).ok())
    }

    /// Tells the server to read its configuration anew, if it is ours.
    ///
    /// # Errors
    /// When it is not there any more.
    pub(crate) fn hang_up(&self) -> Result<(), String> {
        let ours = self.launched.as_ref().map(Launched::pid);
        let Some(pid) = ours.and_then(|pid| Pid::from_raw(pid.cast_signed())) else { return Ok(()) };
        kill_process(pid, Signal::HUP).map_err(|error| format!("SIGHUP: {error}"))
    }

    /// The usual bystanders.
    pub(crate) fn crowd(&self, common: &Common) -> Plan {
        let count = common.bystanders as usize;
        Plan {
            echo_url: self.url(&common.echo_path),
            echoes: count,
            echo_rate: common.bystander_rate,
            room_url: self.url(&format!("{}/bystanders", common.rooms_path)),
            members: count,
            room_rate: ROOM_RATE,
            room_bytes: ROOM_BYTES,
        }
    }
}
