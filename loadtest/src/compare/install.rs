//! Bringing the peers here: cargo, npm and pip into folders of our own, apt-get where we may.

use crate::autobahn::{cache, lock, quietly};
use crate::launch;
use sha2::{Digest, Sha256};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program, the script it runs if it is an interpreter, and the version in words.
type Installed = (PathBuf, Option<PathBuf>, String);

const BUN: [(&str, &str); 2] = [
    ("package.json", include_str!("../../peers/bun/package.json")),
    ("server.ts", include_str!("../../peers/bun/server.ts")),
];
const NODE: [(&str, &str); 2] = [
    ("package.json", include_str!("../../peers/node/package.json")),
    ("server.mjs", include_str!("../../peers/node/server.mjs")),
];
const TORNADO: [(&str, &str); 2] = [
    ("requirements.txt", include_str!("../../peers/tornado/requirements.txt")),
    ("server.py", include_str!("../../peers/tornado/server.py")),
];
const NGINX: &str = include_str!("../../peers/nginx/nginx.conf");
const LOCK: &str = include_str!("../../peers/Cargo.lock");

/// The first line a command prints, on either stream.
pub(super) fn answer(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {program}: {error}"))?;
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8_lossy(&words);
    if output.status.success() {
        return Ok(words.lines().next().unwrap_or_default().trim().to_owned());
    }
    Err(format!("{program} failed: {}", words.trim()))
}

/// A file's name and SHA-256.
pub(super) fn hash(path: &Path) -> Result<(String, String), String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let digest = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, digest))
}

/// A binary of the peers' workspace, built if it is stale.
pub(super) fn rust(binary: &str) -> Result<PathBuf, String> {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = harness.join("peers/Cargo.toml");
    if !manifest.exists() {
        return Err("the sources of the peers are not here".to_owned());
    }
    let target = harness.with_file_name("target").join("peers");
    let mut cargo = launch::cargo();
    cargo.args(["build", "--release", "--quiet", "--locked", "--manifest-path"]).arg(manifest);
    quietly(cargo.arg("--target-dir").arg(&target))?;
    Ok(target.join("release").join(binary))
}

/// The version of a crate in the peers' lock file.
pub(super) fn locked_version(krate: &str) -> &'static str {
    let after = LOCK.split_once(&format!("name = \"{krate}\"\nversion = \"")).map_or("", |(_, rest)| rest);
    after.split('"').next().unwrap_or_default()
}

pub(super) fn bun() -> Result<Installed, String> {
    let folder = npm("bun", &BUN)?;
    let program = folder.join("node_modules/.bin/bun");
    let version = answer(Command::new(&program).arg("--version"))?;
    Ok((program, Some(folder.join("server.ts")), format!("Bun {version}")))
}

pub(super) fn node() -> Result<Installed, String> {
    let program = fs::canonicalize(answer(Command::new("node").args(["-p", "process.execPath"]))?)
        .map_err(|error| error.to_string())?;
    let version = answer(Command::new(&program).arg("--version"))?;
    let folder = npm("ws", &NODE)?;
    let question = "require('./node_modules/ws/package.json').version";
    let ws = answer(Command::new(&program).args(["-p", question]).current_dir(&folder))?;
    Ok((program, Some(folder.join("server.mjs")), format!("ws {ws} on Node {version}")))
}

pub(super) fn tornado() -> Result<Installed, String> {
    let folder = folder("tornado", &TORNADO, |folder| {
        quietly(Command::new("python3").args(["-m", "venv", "env"]).current_dir(folder))?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
        quietly(Command::new(folder.join("env/bin/python")).args(pip).current_dir(folder))
    })?;
    let program = folder.join("env/bin/python");
    let question =
        "import sys, tornado; print('Tornado', tornado.version, 'on Python', sys.version.split()[0])";
    let version = answer(Command::new(&program).args(["-c", question]))?;
    Ok((program, Some(folder.join("server.py")), version))
}

pub(super) fn nginx() -> Result<Installed, String> {
    let module = "ngx_nchan_module.so";
    let found = || Path::new("/usr/sbin/nginx").exists() && modules().join(module).exists();
    if !found() {
        if !rustix::process::geteuid().is_root() {
            return Err("not installed: apt-get install nginx libnginx-mod-nchan".to_owned());
        }
        let packages = ["install", "-y", "-q", "--no-install-recommends", "nginx", "libnginx-mod-nchan"];
        quietly(Command::new("apt-get").args(packages).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    let program = PathBuf::from("/usr/sbin/nginx");
    let version = answer(Command::new(&program).arg("-v"))?;
    let version = version.trim_start_matches("nginx version: ").to_owned();
    let package = ["-W", "-f", "${Version}", "libnginx-mod-nchan"];
    let nchan = answer(Command::new("dpkg-query").args(package)).unwrap_or_default();
    Ok((program, None, format!("{version}, nchan {nchan}")))
}

fn modules() -> PathBuf {
    PathBuf::from("/usr/lib/nginx/modules")
}

/// nginx with a configuration of its own; the shell says where it listens and becomes nginx.
pub(super) fn nginx_command(program: &Path, port: u16) -> Result<Command, String> {
    let folder = cache()?.join("peer-nginx");
    let text = NGINX.replace("{port}", &port.to_string()).replace("{modules}", &modules().to_string_lossy());
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    fs::write(folder.join("nginx.conf"), text).map_err(|error| error.to_string())?;
    let mut command = Command::new("sh");
    let script = format!("echo listening on http://127.0.0.1:{port}; exec \"$0\" -p \"$1\" -c nginx.conf");
    command.args(["-c", &script]).arg(program).arg(folder);
    Ok(command)
}

fn npm(name: &str, files: &[(&str, &str)]) -> Result<PathBuf, String> {
    folder(name, files, |folder| {
        let arguments = ["install", "--silent", "--no-audit", "--no-fund", "--omit=dev"];
        quietly(Command::new("npm").args(arguments).current_dir(folder))
    })
}

/// A folder with these files; what the first of them asks for is installed when it changes.
fn folder(
    name: &str,
    files: &[(&str, &str)],
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = cache()?.join(format!("peer-{name}"));
    install_in(folder, files, install)
}

fn install_in(
    folder: PathBuf,
    files: &[(&str, &str)],
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let _lock = lock(&folder)?;
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let wanted = files.first().map(|(_, text)| *text).unwrap_or_default();
    let whole = folder.join("whole");
    let is_whole = fs::read_to_string(&whole).is_ok_and(|installed| installed == wanted);
    if !is_whole && folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    for (file, text) in files {
        fs::write(folder.join(file), text).map_err(failed)?;
    }
    if !is_whole {
        eprintln!("installing a peer in {} (once)", folder.display());
        install(&folder)?;
        fs::write(&whole, wanted).map_err(failed)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_installed_once_and_anew_when_its_pins_change() {
        let place = tempfile::tempdir().expect("a folder").keep().join("peer");
        let install = |pins: &str, script: &str| {
            let files = [("pins", pins), ("script", script)];
            let mut installed = false;
            install_in(place.clone(), &files, |_| {
                installed = true;
                Ok(())
            })
            .expect("installed");
            installed
        };
        assert_eq!([install("1", "a"), install("1", "b"), install("2", "b")], [true, false, true]);
        assert_eq!(fs::read_to_string(place.join("script")).expect("there"), "b");
        fs::remove_dir_all(place.parent().expect("its folder")).expect("removed");
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(locked_version("tokio-tungstenite").starts_with("0."));
        assert_eq!(locked_version("no-such-crate"), "");
    }

    #[test]
    fn a_file_is_known_by_its_hash() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "abc").expect("written");
        let (_, digest) = hash(file.path()).expect("read");
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
