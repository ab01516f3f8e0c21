//! The harness of Fanline: each mode is a module with its `Options` and a `run`.
#![forbid(unsafe_code)]

mod client;
mod conform;
mod launch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Asks questions of a WebSocket server and prints the answers.
#[derive(Parser)]
#[command(name = "cargo loadtest", version)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Checks a server against RFC 6455, RFC 7692 and RFC 9112, case by case.
    Conform(conform::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().mode {
        Mode::Conform(options) => conform::run(options),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}
