//! What can be said of fleets without a Redis.

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

#[test]
fn there_is_no_address_to_give() {
    let arguments = Arguments::parse_from(["x", "ws://127.0.0.1:1/"]);
    assert!(run(arguments.options).unwrap_err().to_string().contains("no address to give"));
}
