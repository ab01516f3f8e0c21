//! What a system needs to run Fanline as a service, held against the tools that will read it.
#![forbid(unsafe_code)]

mod container;
mod guides;
mod pages;
mod units;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn example(name: &str) -> String {
    std::fs::read_to_string(root().join("examples").join(name)).unwrap()
}

/// Runs a tool; `package` is Debian's that brings it.
fn tool(name: &str, package: &str, args: &[&str], folder: &Path) -> Output {
    let output = Command::new(name).args(args).current_dir(folder).output();
    output.unwrap_or_else(|error| panic!("{name} (Debian's package {package}): {error}"))
}
