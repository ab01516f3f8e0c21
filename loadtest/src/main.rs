//! The harness of Fanline: each mode is a module with its `Options` and a `run`.
#![forbid(unsafe_code)]

mod attack;
mod autobahn;
mod bystander;
mod client;
mod compare;
mod conform;
mod idle;
mod launch;
mod measure;
mod modes;
mod nodes;
mod push;
mod reactor;
#[cfg(test)]
mod synthetic;

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
    /// Runs the Autobahn test suite against a server and prints what is not OK.
    Autobahn(autobahn::Options),
    /// Measures what the fan-out of a large room does to another connection's echo.
    Bystander(bystander::Options),
    /// Attacks with messages that are far longer inflated, and frames that never come.
    Bomb(attack::bomb::Options),
    /// Measures connections that come, have one message echoed, close, and come again.
    Churn(modes::connect::Options),
    /// Compares our server with its peers: each in turn, pinned, as ratios with their spread.
    Compare(compare::Options),
    /// Measures handshakes: TCP connect and upgrade.
    Connect(modes::connect::Options),
    /// Checks a server against RFC 6455, RFC 7692 and RFC 9112, case by case.
    Conform(conform::Options),
    /// Measures messages that come back to whom they came from.
    Echo(modes::echo::Options),
    /// Measures messages that come to everybody in a room.
    Fanout(modes::fanout::Options),
    /// Attacks with connections that send as fast as they can.
    Flood(attack::flood::Options),
    /// Attacks with thousands of connections that are cut at once, and come back at once.
    Herd(attack::herd::Options),
    /// Measures the server's own memory per idle connection.
    Idle(idle::Options),
    /// Measures one room over several nodes on one Redis.
    Nodes(nodes::Options),
    /// Measures a room's messages by WebSocket, server-sent events, long poll and short poll.
    Push(push::Options),
    /// Attacks with connections that take as long as they are let for everything.
    Slowloris(attack::slowloris::Options),
    /// Keeps a server at half load for minutes, with random faults, and counts every message.
    Soak(attack::soak::Options),
    /// Attacks with members of a room who read no more.
    Stall(attack::stall::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().mode {
        Mode::Autobahn(options) => autobahn::run(options),
        Mode::Bystander(options) => bystander::run(options),
        Mode::Bomb(options) => attack::bomb::run(options),
        Mode::Churn(options) => modes::connect::churn(options),
        Mode::Compare(options) => compare::run(options),
        Mode::Connect(options) => modes::connect::connect(options),
        Mode::Conform(options) => conform::run(options),
        Mode::Echo(options) => modes::echo::run(options),
        Mode::Fanout(options) => modes::fanout::run(options),
        Mode::Flood(options) => attack::flood::run(options),
        Mode::Herd(options) => attack::herd::run(options),
        Mode::Idle(options) => idle::run(options),
        Mode::Nodes(options) => nodes::run(options),
        Mode::Push(options) => push::run(options),
        Mode::Slowloris(options) => attack::slowloris::run(options),
        Mode::Soak(options) => attack::soak::run(options),
        Mode::Stall(options) => attack::stall::run(options),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}
