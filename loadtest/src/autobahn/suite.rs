//! Where the suite runs: in its own environment here, or in its container.

use super::{install, python};
use std::path::Path;
use std::process::{Command, Stdio};

/// The suite's container, of the same version as the pinned package.
const IMAGE: &str = "crossbario/autobahn-testsuite:0.8.2";

/// A suite that can be run.
pub(crate) enum Suite {
    /// In a virtual environment of Python 2.7.
    Installed(install::Installed),
    /// In a container, on the host's network.
    Container,
}

/// Why there is no suite.
pub(crate) enum Unavailable {
    /// There is nothing to run it with, and that is no fault of anybody's.
    NoInterpreter(String),
    /// It should have been possible.
    Failed(String),
}

impl Suite {
    /// Finds an interpreter and installs the suite for it, or else a container engine that answers.
    pub(crate) fn find() -> Result<Self, Unavailable> {
        match python::find().map_err(Unavailable::Failed)? {
            Some(python2) => install::install(&python2).map(Self::Installed).map_err(Unavailable::Failed),
            None if docker(&["version", "--format", "{{.Server.Version}}"]) => {
                container().map_err(Unavailable::Failed)
            }
            None => Err(Unavailable::NoInterpreter(format!(
                "no Python 2.7 runs (looked at {}), and no Docker engine answers",
                python::PLACES
            ))),
        }
    }

    /// The command that runs `spec.json` in `folder`, and the name to stop it by if it is a container.
    pub(crate) fn command(&self, folder: &Path, group: &str) -> (Command, Option<String>) {
        const ARGUMENTS: [&str; 4] = ["--mode", "fuzzingclient", "--spec", "spec.json"];
        match self {
            Self::Installed(installed) => {
                let mut command = installed.wstest();
                command.args(ARGUMENTS).current_dir(folder);
                (command, None)
            }
            Self::Container => {
                let name = format!("fanline-autobahn-{}-{group}", std::process::id());
                let mut command = Command::new("docker");
                command.args([
                    "run",
                    "--rm",
                    "--init",
                    "--network",
                    "host",
                    "--workdir",
                    "/suite",
                    "--name",
                    &name,
                ]);
                command.arg("--volume").arg(format!("{}:/suite", folder.display()));
                command.args([IMAGE, "wstest"]).args(ARGUMENTS);
                (command, Some(name))
            }
        }
    }
}

/// Fetches the image before any group's time runs.
fn container() -> Result<Suite, String> {
    if docker(&["image", "inspect", IMAGE]) || docker(&["pull", "--quiet", IMAGE]) {
        return Ok(Suite::Container);
    }
    Err(format!("no Python 2.7 runs, and the Docker engine here cannot fetch {IMAGE}"))
}

/// Whether the engine does it. A client without its engine is of no use: only the engine's answer counts.
fn docker(arguments: &[&str]) -> bool {
    let mut command = Command::new("docker");
    let quiet = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_sees_the_folder_and_has_a_name_to_stop_it_by() {
        let (command, name) = Suite::Container.command(Path::new("/tmp/report/9.1"), "9.1");
        let name = name.expect("a container has a name");
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        assert!(arguments.iter().any(|argument| *argument == name));
        assert!(arguments.iter().any(|argument| argument == "/tmp/report/9.1:/suite"));
        assert!(name.ends_with("-9.1"));
    }
}
