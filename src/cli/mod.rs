//! The commands over the admin API: they ask a running server, and say what it says.

mod ask;
mod client;
mod show;
mod tap;
mod top;

use std::fmt;
use std::io;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};

use client::Client;

/// Something that is asked of a running server.
#[derive(Debug)]
pub struct Errand {
    name: String,
    args: ArgMatches,
}

/// Why a command has not done what it was to do, and what can be done about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure(error.to_string())
    }
}

/// The commands as the command line knows them.
pub fn commands() -> [Command; 7] {
    let room = || Arg::new("room").value_name("ROOM").required(true).help("The room's name");
    let limit = || number("limit", "N", "How many to show; 0 for all, page by page").default_value("20");
    [
        command("top", "Watch the server: rates, the slowest readers, the largest rooms")
            .arg(number("interval", "SECONDS", "Time between two looks").default_value("1"))
            .arg(flag("once", "Print what one look shows, after one interval, and end"))
            .arg(sort("lag", PEER_SORTS)),
        command("rooms", "List rooms, the largest first").arg(limit()).arg(sort("members", ROOM_SORTS)).arg(
            Arg::new("prefix")
                .long("prefix")
                .value_name("TEXT")
                .help("Only rooms whose names begin like this"),
        ),
        command("peers", "List connections; by lag, the slowest readers come first")
            .arg(limit())
            .arg(sort("id", PEER_SORTS))
            .args(whose())
            .group(ArgGroup::new("whose").args(["user", "token", "room"])),
        command("kick", "Close connections: one by its id, or all of a user, a token or a room")
            .arg(Arg::new("id").value_name("ID").help("The connection, as `fanline peers` shows it"))
            .args(whose())
            .group(ArgGroup::new("whose").args(["id", "user", "token", "room"]).required(true))
            .arg(number("code", "CODE", "The code they are closed with").default_value("1008"))
            .arg(Arg::new("reason").long("reason").value_name("TEXT").help("The reason they are told")),
        command("tap", "Follow a room: each publication is a line with its position")
            .arg(room())
            .arg(number("last", "N", "Begin with the last N"))
            .arg(number("count", "N", "End after N")),
        command("publish", "Publish a text to a room").arg(room()).arg(
            Arg::new("text").value_name("TEXT").required(true).help("The text; - for what stands on stdin"),
        ),
        Command::new("bench").about("Say how to measure a server"),
    ]
}

const PEER_SORTS: [&str; 5] = ["id", "lag", "delay", "bytes", "age"];
const ROOM_SORTS: [&str; 5] = ["name", "members", "publications", "lag", "bytes"];

fn command(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(Arg::new("admin").long("admin").value_name("URL").help(
            "Where the admin API is: http://HOST:PORT or unix:PATH; FANLINE_ADMIN says it, too \
             [default: http://127.0.0.1:9001]",
        ))
        .arg(
            Arg::new("token-file")
                .long("token-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("File of the admin token; or FANLINE_ADMIN_TOKEN_FILE, or the token in FANLINE_ADMIN_TOKEN"),
        )
        .arg(flag("json", "Print JSON as the API has it"))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn number(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).value_parser(value_parser!(u32)).help(help)
}

fn sort(default: &'static str, sorts: [&'static str; 5]) -> Arg {
    Arg::new("sort")
        .long("sort")
        .value_name("BY")
        .value_parser(sorts)
        .default_value(default)
        .help("What comes first")
}

fn whose() -> [Arg; 3] {
    [
        Arg::new("user").long("user").value_name("USER").help("The user's connections"),
        Arg::new("token")
            .long("token")
            .value_name("ID")
            .help("Those that have shown the token of this id (jti)"),
        Arg::new("room").long("room").value_name("ROOM").help("The room's members"),
    ]
}

/// How the server is measured.
const BENCH: &str = "\
A server is measured by the harness, which stands beside its source:

  cargo loadtest echo          latency and processor time per echo
  cargo loadtest fanout        the same per delivery in a room
  cargo loadtest bystander     an echo beside a fan-out to thousands
  cargo loadtest connect       handshakes per second
  cargo loadtest idle          bytes of memory per idle connection
  cargo loadtest compare       beside other servers, on the same core

Each starts a server by itself, or takes the URL of one, such as ws://127.0.0.1:8080, with --pid of its process.
`cargo loadtest --help` lists them all. What a running server does is seen with `fanline top`.
";

impl Errand {
    /// The command of this name; `None` where it is none of these.
    pub fn new(name: &str, args: &ArgMatches) -> Option<Self> {
        let is_one = commands().iter().any(|command| command.get_name() == name);
        is_one.then(|| Self { name: name.to_owned(), args: args.clone() })
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`Failure`], in a sentence for whoever ran it.
    pub fn run(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<(), Failure> {
        if self.name == "bench" {
            return show::print(BENCH);
        }
        let client = self.client(env)?;
        match self.name.as_str() {
            "rooms" => ask::rooms(&client, &self.args),
            "peers" => ask::peers(&client, &self.args),
            "kick" => ask::kick(&client, &self.args),
            "publish" => ask::publish(&client, &self.args),
            "tap" => tap::follow(&client, &self.args),
            _ => top::watch(&client, &self.args),
        }
    }

    /// The flag goes before the variables, as everywhere.
    fn client(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Client, Failure> {
        let url = self.args.get_one::<String>("admin").cloned().or_else(|| env("FANLINE_ADMIN"));
        let file = self.args.get_one::<PathBuf>("token-file").cloned();
        let token = match (file, env("FANLINE_ADMIN_TOKEN"), env("FANLINE_ADMIN_TOKEN_FILE")) {
            (Some(file), _, _) => Some(read_token(file)?),
            (None, Some(token), _) => Some(token),
            (None, None, Some(file)) => Some(read_token(file.into())?),
            (None, None, None) => None,
        };
        Client::new(url.as_deref().unwrap_or("http://127.0.0.1:9001"), token)
    }
}

fn read_token(file: PathBuf) -> Result<String, Failure> {
    let text = std::fs::read_to_string(&file);
    let text =
        text.map_err(|error| Failure(format!("the token cannot be read: {}: {error}", file.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed_and_bench_needs_no_server() {
        for command in commands() {
            command.clone().debug_assert();
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
        }
        let args = Command::new("bench").get_matches_from(["bench"]);
        Errand::new("bench", &args).unwrap().run(&|_| None).unwrap();
        assert!(Errand::new("check", &args).is_none());
    }
}
