//! The command line: the few flags that everybody needs, one for each limit, and `check`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

use super::pages::Page;
use crate::limits::Limits;

/// What the binary understands.
pub fn command() -> Command {
    Command::new("fanline")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A WebSocket server on one thread: a room is a log, a connection is a cursor.")
        .override_usage("fanline [OPTIONS]\n       fanline check FILE\n       fanline COMMAND [OPTIONS]")
        .after_help(
            "Without options it serves /chat/<room> and a chat page on http://127.0.0.1:8080.\n\
             With --help it also lists the limits, each of them a flag.",
        )
        .after_long_help(
            "Every flag is also a variable, such as FANLINE_LISTEN or FANLINE_WALK_SLICE, and a key of the file, the \
             limits under [limits]. Flags go before variables, variables before the file.\n\n\
             SIGHUP reads the file anew, SIGTERM ends the server gently, SIGINT or a second signal at once.",
        )
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("check")
                .about("Say what a configuration file makes, or every mistake in it (exit code 2)")
                .arg(file("file").required(true).help("The file; nothing is started")),
        )
        .subcommands(crate::cli::commands())
        .subcommands(Page::commands())
        .subcommand(
            Command::new("replay")
                .about("Play a recording: `same` (exit code 0), or where what is sent differs (1)")
                .arg(file("file").required(true).help("The recording"))
                .arg(file("config").long("config").help("Configuration to play it with, in place of its own"))
                .arg(
                    Arg::new("connection")
                        .long("connection")
                        .value_name("N")
                        .value_parser(value_parser!(u64))
                        .help("Print what this connection sent and got; the first to come is 1"),
                )
                .arg(
                    Arg::new("until")
                        .long("until")
                        .value_name("TURN")
                        .value_parser(value_parser!(u64))
                        .help("End with this turn"),
                ),
        )
        .arg(
            Arg::new("listen")
                .short('l')
                .long("listen")
                .value_name("ADDR")
                .action(ArgAction::Append)
                .help("Address to listen on, may be repeated; port 0 picks one; unix:PATH [default: 127.0.0.1:8080]"),
        )
        .arg(
            Arg::new("tls-listen")
                .long("tls-listen")
                .value_name("ADDR")
                .action(ArgAction::Append)
                .help("Address to listen on for wss, may be repeated"),
        )
        .arg(file("tls-cert").long("tls-cert").help("Certificate for it (PEM), read anew when it changes"))
        .arg(file("tls-key").long("tls-key").help("The certificate's private key (PEM)"))
        .arg(
            Arg::new("trusted-proxy")
                .long("trusted-proxy")
                .value_name("NETWORK")
                .action(ArgAction::Append)
                .help("Proxy whose X-Forwarded-For is believed: an address, 10.0.0.0/8 or unix; may be repeated"),
        )
        .arg(
            Arg::new("proxy-listen")
                .long("proxy-listen")
                .value_name("ADDR")
                .action(ArgAction::Append)
                .help("Address to listen on for proxies alone, which send PROXY headers (version 1 or 2)"),
        )
        .arg(
            Arg::new("tls-proxy-listen")
                .long("tls-proxy-listen")
                .value_name("ADDR")
                .action(ArgAction::Append)
                .help("The same for wss, with the PROXY header before TLS"),
        )
        .arg(
            Arg::new("unix-mode")
                .long("unix-mode")
                .value_name("MODE")
                .help("Permissions of the file of a Unix socket [default: 0660]"),
        )
        .arg(
            Arg::new("reuse-port")
                .long("reuse-port")
                .action(ArgAction::SetTrue)
                .help("Let other processes listen on the same ports (SO_REUSEPORT)"),
        )
        .arg(
            file("takeover")
                .long("takeover")
                .help("Unix socket on which a later process takes over ports and rooms from this one"),
        )
        .arg(
            file("record")
                .long("record")
                .help("New file for what the server is told, without what people say: see `fanline replay`"),
        )
        .arg(
            Arg::new("record-bodies")
                .long("record-bodies")
                .action(ArgAction::SetTrue)
                .help("Record what people say, too, with all that is secret in it"),
        )
        .arg(file("config").short('c').long("config").help("Configuration file (TOML): routes, limits, rights"))
        .arg(
            file("static")
                .long("static")
                .value_name("DIR")
                .help("Folder whose files are served at /static/"),
        )
        .arg(
            Arg::new("backplane-url")
                .long("backplane-url")
                .value_name("URL")
                .help("Redis through which nodes share their rooms: redis://user:password@host:port/db, rediss:// with TLS, redis+cluster://"),
        )
        .arg(
            Arg::new("backplane-prefix")
                .long("backplane-prefix")
                .value_name("TEXT")
                .help("What its keys begin with [default: fanline:, on a layer asgi]"),
        )
        .arg(
            Arg::new("backplane-layer")
                .long("backplane-layer")
                .value_name("LAYER")
                .help("channels: share rooms with Django Channels applications, on their layer in that Redis"),
        )
        .arg(
            Arg::new("admin-listen")
                .long("admin-listen")
                .value_name("ADDR")
                .action(ArgAction::Append)
                .help("Address of the admin API and page alone, such as 127.0.0.1:9001; may be repeated"),
        )
        .arg(
            file("admin-token-file")
                .long("admin-token-file")
                .help("File of the token that the admin API asks for; without --admin-listen it is where the rest is"),
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
        .arg(
            Arg::new("metrics")
                .long("metrics")
                .action(ArgAction::SetTrue)
                .help("Show everybody what is measured, at /metrics"),
        )
        .arg(
            Arg::new("log")
                .long("log")
                .value_name("FORM")
                .help("How stderr is written: human, or json with an object on each line [default: human]"),
        )
        .arg(
            Arg::new("log-level")
                .long("log-level")
                .value_name("LEVEL")
                .help("How much of it: off, error, warn, info, debug, trace [default: info]"),
        )
        .arg(
            Arg::new("no-ledger")
                .long("no-ledger")
                .action(ArgAction::SetTrue)
                .help("Take no times of deliveries and of the loop"),
        )
        .args(limits())
}

fn file(name: &'static str) -> Arg {
    Arg::new(name).value_name("FILE").value_parser(value_parser!(PathBuf))
}

/// A flag for each limit; they are many, so only the long help shows them.
fn limits() -> impl Iterator<Item = Arg> {
    let defaults = Limits::default();
    Limits::TABLE.iter().map(move |limit| {
        Arg::new(limit.name)
            .long(limit.name.replace('_', "-"))
            .value_name(limit.show(&defaults))
            .help(limit.reason)
            .help_heading("Limits, each shown with its default")
            .hide_short_help(true)
    })
}
