//! Installing the suite once, in a virtual environment under the user's cache.
//!
//! The folder is named by the hash of what is installed in it, so a new pin makes a new folder. A virtual environment cannot
//! be moved, so it is built where it stays, under a lock; a last file says that it is whole, and without that file
//! everything is removed and built again.

use super::catalogue::Profile;
use rustix::fs::{FlockOperation, flock};
use sha1::{Digest, Sha1};
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The suite and all it needs, each in one version.
const REQUIREMENTS: &str = include_str!("../../autobahn/requirements.txt");

/// The last virtualenv that makes environments for Python 2.7; itself it runs on Python 3.
const VIRTUALENV: &str = "virtualenv==20.21.1";

/// Written last.
const WHOLE: &str = "whole";

/// An installed suite.
pub(crate) struct Installed {
    folder: PathBuf,
}

impl Installed {
    /// The command that begins a run of the suite's `wstest`.
    pub(crate) fn wstest(&self) -> Command {
        let bin = self.folder.join("suite/bin");
        let mut command = Command::new(bin.join("python"));
        command.args(["-W", "ignore"]).arg(bin.join("wstest"));
        command
    }

    /// Whether the environment still runs: its interpreter may have been removed since.
    fn runs(&self) -> bool {
        let mut command = Command::new(self.folder.join("suite/bin/python"));
        command.args(["-W", "ignore", "-c", "import autobahntestsuite"]);
        quietly(&mut command).is_ok()
    }
}

/// The suite as installed by an earlier run, or installed now for the interpreter `python2`.
///
/// # Errors
/// With the words of the tool that failed.
pub(crate) fn install(python2: &Path) -> Result<Installed, String> {
    let folder = cache()?.join(format!("autobahn-{}", fingerprint(python2)));
    install_in(folder, |folder| build(folder, python2))
}

fn install_in(folder: PathBuf, build: impl FnOnce(&Path) -> Result<(), String>) -> Result<Installed, String> {
    let _lock = lock(&folder)?;
    let whole = folder.join(WHOLE);
    let installed = Installed { folder };
    if whole.exists() && installed.runs() {
        return Ok(installed);
    }
    let folder = &installed.folder;
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| format!("cannot clear {}: {error}", folder.display()))?;
    }
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    build(folder)?;
    fs::write(&whole, "").map_err(|error| format!("cannot write {}: {error}", whole.display()))?;
    Ok(installed)
}

/// Lets one process install at a time; the lock ends with the returned file.
pub(crate) fn lock(folder: &Path) -> Result<File, String> {
    let path = folder.with_extension("lock");
    let failed = |error: &dyn std::fmt::Display| format!("cannot lock {}: {error}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| failed(&error))?;
    }
    let file = File::create(&path).map_err(|error| failed(&error))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(&error))?;
    Ok(file)
}

fn build(folder: &Path, python2: &Path) -> Result<(), String> {
    eprintln!("installing the Autobahn suite in {} (once)", folder.display());
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(|error| error.to_string())?;
    let (tools, suite) = (folder.join("tools"), folder.join("suite"));
    let pip = |environment: &Path| {
        let mut command = Command::new(environment.join("bin/python"));
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        command
    };
    quietly(Command::new("python3").args(["-m", "venv"]).arg(&tools))?;
    quietly(pip(&tools).arg(VIRTUALENV))?;
    let mut virtualenv = Command::new(tools.join("bin/virtualenv"));
    quietly(virtualenv.args(["--quiet", "--python"]).arg(python2).arg(&suite))?;
    quietly(pip(&suite).args(["--no-deps", "--requirement"]).arg(&requirements))?;
    compare_catalogue(&suite)
}

/// A case that our list has and the suite has not would be reported as missing for ever, and one that it lacks never be run.
fn compare_catalogue(suite: &Path) -> Result<(), String> {
    const LIST: &str = "from autobahntestsuite import case\nfor c in case.Cases: print(c.__name__)";
    let mut command = Command::new(suite.join("bin/python"));
    let output = command.args(["-W", "ignore", "-c", LIST]).output().map_err(|error| error.to_string())?;
    let theirs: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(case_number).collect();
    let ours: Vec<String> = Profile::Full.cases().iter().map(ToString::to_string).collect();
    if sorted(theirs.clone()) == sorted(ours) {
        return Ok(());
    }
    Err(format!("the installed suite has other cases than the catalogue: {} of them", theirs.len()))
}

/// The suite's class `Case1_2_3` is the case `1.2.3`.
fn case_number(class: &str) -> String {
    class.trim_start_matches("Case").replace('_', ".")
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

/// Runs a command whose words matter only when it fails.
pub(crate) fn quietly(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = [output.stdout, output.stderr].concat();
    Err(format!("{command:?} failed ({}):\n{}", output.status, String::from_utf8_lossy(&words).trim_end()))
}

/// What is installed, and for whom, as a short hash.
fn fingerprint(python2: &Path) -> String {
    let mut hash = Sha1::new();
    for part in [REQUIREMENTS.as_bytes(), VIRTUALENV.as_bytes(), python2.as_os_str().as_encoded_bytes()] {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where installed things are kept between runs.
pub(crate) fn cache() -> Result<PathBuf, String> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("FANLINE_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("fanline")))
        .or_else(|| env::home_dir().map(|home| home.join(".cache/fanline")))
        .ok_or("there is no home folder: FANLINE_CACHE must name one for the cache")?;
    std::path::absolute(&folder).map_err(|error| format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stands in for a virtual environment: an interpreter that always agrees.
    fn pretend(folder: &Path) -> Result<(), String> {
        use std::os::unix::fs::PermissionsExt;
        let python = folder.join("suite/bin/python");
        fs::create_dir_all(folder.join("suite/bin")).map_err(|error| error.to_string())?;
        fs::write(&python, "#!/bin/sh\nexit 0\n").map_err(|error| error.to_string())?;
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_install_is_used_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("autobahn-1");
        assert!(install_in(place.clone(), pretend).is_ok());
        assert!(install_in(place, |_| Err("built twice".to_owned())).is_ok());
    }

    #[test]
    fn a_half_install_is_cleared_and_built_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("autobahn-1");
        let half = |folder: &Path| {
            fs::write(folder.join("half"), "").map_err(|error| error.to_string())?;
            Err("the network went away".to_owned())
        };
        assert_eq!(install_in(place.clone(), half).err().as_deref(), Some("the network went away"));
        assert!(install_in(place.clone(), pretend).is_ok());
        assert!(!place.join("half").exists());
    }

    #[test]
    fn an_install_whose_interpreter_is_gone_is_built_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("autobahn-1");
        assert!(install_in(place.clone(), pretend).is_ok());
        fs::remove_file(place.join("suite/bin/python")).expect("removed");
        assert!(install_in(place.clone(), pretend).is_ok());
        assert!(place.join("suite/bin/python").exists());
    }

    #[test]
    fn a_failing_tool_is_quoted() {
        let words =
            quietly(Command::new("sh").args(["-c", "echo no such version; exit 3"])).expect_err("it fails");
        assert!(words.contains("no such version") && words.contains('3'), "{words}");
    }

    #[test]
    fn every_requirement_is_pinned() {
        let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        assert!(lines.clone().count() > 30);
        assert!(lines.into_iter().all(|line| line.contains("==")), "{REQUIREMENTS}");
    }
}
