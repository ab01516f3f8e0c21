//! Starts our own server for a run and ends it with the run.

use std::collections::VecDeque;
use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may take to print its address.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How many lines of the server's log are kept to explain a failed start.
const LOG_LINES_KEPT: usize = 20;

const READY: &str = "listening on ";

/// A running server of ours, which is killed by its own handle when this value is dropped.
pub(crate) struct Launched {
    child: Child,
    origin: String,
}

impl Launched {
    /// Starts the server on a free port of 127.0.0.1 with `extra_args` and waits until it listens.
    ///
    /// The binary is the one beside this executable, built first where the sources are at hand;
    /// `FANLINE_BIN` names another.
    pub(crate) fn start(extra_args: &[&str]) -> Result<Launched, Error> {
        let mut command = Command::new(locate_binary()?);
        command.args(["--listen", "127.0.0.1:0"]).args(extra_args);
        Self::spawn(command)
    }

    /// Starts any server that prints `listening on http://HOST:PORT` once it does.
    pub(crate) fn spawn(mut command: Command) -> Result<Launched, Error> {
        let mut child = command
            // It is a word to this harness; the server has variables of its own.
            .env_remove("FANLINE_BIN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::Spawn(command.get_program().into(), error))?;
        let log = keep_tail(child.stderr.take());
        let lines = read_lines(child.stdout.take());
        let mut launched = Launched { child, origin: String::new() };
        match wait_for_address(&lines) {
            Some(origin) => launched.origin = origin,
            None => return Err(Error::NotListening(log.lines())),
        }
        Ok(launched)
    }

    /// The `ws://` URL of `path` on this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.origin)
    }

    /// The process id, for modes that read the server's memory or processor time.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // Either call fails only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why our server did not start.
#[derive(Debug)]
pub(crate) enum Error {
    /// There is no binary, and it could not be built: the words of cargo.
    NoBinary(String),
    /// The binary could not be executed.
    Spawn(PathBuf, io::Error),
    /// It ended or stayed silent instead of printing its address: the end of its log.
    NotListening(String),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoBinary(words) => write!(out, "there is no fanline binary to start: {words}"),
            Error::Spawn(path, error) => write!(out, "cannot start {}: {error}", path.display()),
            Error::NotListening(log) => write!(out, "the server printed no address; its log ends:\n{log}"),
        }
    }
}

impl std::error::Error for Error {}

/// Finds the binary beside this executable; a build makes sure that it is there and fresh.
pub(crate) fn locate_binary() -> Result<PathBuf, Error> {
    if let Some(path) = env::var_os("FANLINE_BIN") {
        return Ok(path.into());
    }
    let beside = directory_of_artifacts().map_err(|error| Error::NoBinary(error.to_string()))?;
    let binary = beside.join(format!("fanline{}", env::consts::EXE_SUFFIX));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if workspace.join("Cargo.toml").exists() {
        build(&workspace, &beside)?;
    }
    if binary.exists() {
        Ok(binary)
    } else {
        Err(Error::NoBinary(format!("{} does not exist", binary.display())))
    }
}

/// The profile's directory; a test executable lives one level deeper.
fn directory_of_artifacts() -> io::Result<PathBuf> {
    let mut directory = env::current_exe()?;
    directory.pop();
    if directory.ends_with("deps") {
        directory.pop();
    }
    Ok(directory)
}

/// Cargo, as somebody calls it who was not started by it: a build script that asks for the variables of a package, as
/// ring's does, would otherwise see ours, and everything above it be compiled anew with each change of the caller.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let is_ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| is_ours(name)) {
        cargo.env_remove(name);
    }
    cargo
}

/// Lets cargo decide whether the binary is stale, in the profile that this executable was built in.
fn build(workspace: &Path, beside: &Path) -> Result<(), Error> {
    let mut cargo = cargo();
    cargo.current_dir(workspace).args(["build", "--quiet", "--package", "fanline", "--bin", "fanline"]);
    if beside.ends_with("release") {
        cargo.arg("--release");
    }
    match cargo.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Error::NoBinary(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        // Without cargo an installed binary still serves.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::NoBinary(error.to_string())),
    }
}

/// Reads lines for as long as the server lives, so that it never blocks on a full pipe.
fn read_lines(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(pipe) = pipe {
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                // Nobody listens after the start; reading goes on all the same.
                let _ = sender.send(line);
            }
        });
    }
    receiver
}

fn wait_for_address(lines: &Receiver<String>) -> Option<String> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(origin) = origin_in(&line) {
                    return Some(origin);
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// The `host:port` in `listening on http://host:port`.
fn origin_in(line: &str) -> Option<String> {
    let url = line.split_once(READY)?.1.trim();
    let origin = url.strip_prefix("http://")?.trim_end_matches('/');
    (!origin.is_empty()).then(|| origin.to_owned())
}

/// The last lines of a log that somebody else is writing.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: String) {
        let mut kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if kept.len() == LOG_LINES_KEPT {
            kept.pop_front();
        }
        kept.push_back(line);
    }

    fn lines(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        kept.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

fn keep_tail(pipe: Option<impl Read + Send + 'static>) -> Tail {
    let tail = Tail::default();
    if let Some(pipe) = pipe {
        let kept = tail.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                kept.push(line);
            }
        });
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_gives_host_and_port() {
        assert_eq!(origin_in("listening on http://127.0.0.1:4000").as_deref(), Some("127.0.0.1:4000"));
        assert_eq!(origin_in("listening on http://[::1]:4000/").as_deref(), Some("[::1]:4000"));
        assert_eq!(origin_in("listening on nothing"), None);
        assert_eq!(origin_in("starting"), None);
    }

    #[test]
    fn a_log_keeps_its_last_lines_only() {
        let tail = Tail::default();
        for number in 0..LOG_LINES_KEPT + 2 {
            tail.push(number.to_string());
        }
        assert!(tail.lines().starts_with("2\n"));
    }
}
