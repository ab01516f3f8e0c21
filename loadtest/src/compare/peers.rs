//! The servers that are compared, and how each is installed and started.

use super::install;
use crate::launch::{self, Launched};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The name of our own server in every table.
pub(crate) const OURS: &str = "fanline";

/// How long a server that says it listens may refuse connections.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its name on the command line and in the tables.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) words: &'static str,
    /// Whether it has an echo.
    pub(crate) has_echo: bool,
    kind: Kind,
}

/// How it comes here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// With these arguments.
    Ours(&'static [&'static str]),
    /// A binary of the peers' workspace, and the crate whose version is its own.
    Rust(&'static str, &'static str),
    Bun,
    Node,
    Tornado,
    Nginx,
}

/// All of them; ours comes first in every table.
pub(crate) const PEERS: &[Peer] = &[
    Peer { name: OURS, words: "this server", has_echo: true, kind: Kind::Ours(&[]) },
    Peer {
        name: "unmeasured",
        words: "this server with its ledger off: what measuring costs",
        has_echo: true,
        kind: Kind::Ours(&["--no-ledger"]),
    },
    Peer {
        name: "bare",
        words: "an epoll loop without WebSocket work past the handshake: the practical limit",
        has_echo: true,
        kind: Kind::Rust("bare", "mio"),
    },
    Peer {
        name: "threads",
        words: "a thread per connection with blocking reads",
        has_echo: true,
        kind: Kind::Rust("threads", "fanline-peers"),
    },
    Peer {
        name: "tokio-tungstenite",
        words: "its echo and chat examples, on one thread",
        has_echo: true,
        kind: Kind::Rust("tokio_tungstenite", "tokio-tungstenite"),
    },
    Peer {
        name: "fastwebsockets",
        words: "its echo examples behind hyper, on one thread",
        has_echo: true,
        kind: Kind::Rust("fastwebsockets", "fastwebsockets"),
    },
    Peer {
        name: "yawc",
        words: "its server example behind hyper, on one thread",
        has_echo: true,
        kind: Kind::Rust("yawc", "yawc"),
    },
    Peer {
        name: "bun",
        words: "Bun.serve with publish and subscribe; uWebSockets inside",
        has_echo: true,
        kind: Kind::Bun,
    },
    Peer { name: "ws", words: "ws on Node, its server broadcast", has_echo: true, kind: Kind::Node },
    Peer { name: "nchan", words: "nginx with nchan, nchan_pubsub", has_echo: false, kind: Kind::Nginx },
    Peer {
        name: "tornado",
        words: "the tutorial's loop over the users",
        has_echo: true,
        kind: Kind::Tornado,
    },
];

/// A peer that can be started.
pub(crate) struct Ready {
    /// Which.
    pub(crate) peer: &'static Peer,
    /// Its version, in words.
    pub(crate) version: String,
    /// What runs: the file's name, and its SHA-256.
    pub(crate) hashes: Vec<(String, String)>,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Peer {
    /// Installs it where it is missing, and finds out what it is.
    ///
    /// # Errors
    /// In words, when it cannot be had on this machine.
    pub(crate) fn prepare(&'static self) -> Result<Ready, String> {
        let (program, script, version) = match self.kind {
            Kind::Ours(_) => {
                let binary = launch::locate_binary().map_err(|error| error.to_string())?;
                let version = install::answer(Command::new(&binary).arg("--version"))?;
                (binary, None, version)
            }
            Kind::Rust(binary, krate) => {
                (install::rust(binary)?, None, format!("{krate} {}", install::locked_version(krate)))
            }
            Kind::Bun => install::bun()?,
            Kind::Node => install::node()?,
            Kind::Tornado => install::tornado()?,
            Kind::Nginx => install::nginx()?,
        };
        let files = script.iter().chain([&program]);
        let hashes = files.map(|file| install::hash(file)).collect::<Result<_, _>>()?;
        let own: &[&str] = if let Kind::Ours(arguments) = self.kind { arguments } else { &[] };
        let script = script.iter().map(|path| path.to_string_lossy().into_owned());
        let arguments = script.chain(own.iter().map(|argument| (*argument).to_owned())).collect();
        Ok(Ready { peer: self, version, hashes, program, arguments })
    }
}

impl Ready {
    /// The command that starts it, for the report.
    pub(crate) fn command_line(&self) -> String {
        match self.peer.kind {
            Kind::Nginx => "nginx -p FOLDER -c nginx.conf".to_owned(),
            _ => {
                let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let script = self.arguments.iter().filter_map(|path| path.rsplit('/').next());
                let words = [name].into_iter().chain(script.map(str::to_owned));
                words.chain(["--listen 127.0.0.1:0".to_owned()]).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// Starts it on a free port, on the core this thread is kept to.
    ///
    /// # Errors
    /// When it does not listen.
    pub(crate) fn start(&self) -> Result<Launched, String> {
        let command = match self.peer.kind {
            Kind::Nginx => install::nginx_command(&self.program, free_port()?)?,
            _ => {
                let mut command = Command::new(&self.program);
                command.args(&self.arguments).args(["--listen", "127.0.0.1:0"]);
                command
            }
        };
        let running = Launched::spawn(command).map_err(|error| error.to_string())?;
        wait_for(&running)?;
        Ok(running)
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

/// nginx says nothing when it listens, so that it does is tried.
fn wait_for(running: &Launched) -> Result<(), String> {
    let url = running.url("");
    let address: SocketAddr =
        url.trim_start_matches("ws://").parse().map_err(|_| format!("{url} is no address"))?;
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > end {
            return Err(format!("nobody listens at {url}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
