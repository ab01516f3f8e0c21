//! The container file: no image can be pulled where these tests run, so each of its steps is held against what it needs,
//! and what it builds runs where there is nothing but what its last stage copies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{example, root, tool};

/// The instructions, each with its words.
fn instructions(file: &str) -> Vec<(&str, &str)> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).collect()
}

fn list(words: &str) -> Vec<String> {
    serde_json::from_str(words).unwrap()
}

#[test]
fn row_62_the_container_runs_what_cargo_builds_and_its_default_words_start_a_server() {
    let file = example("Containerfile");
    let steps = instructions(&file);
    let of = |name: &str| {
        steps.iter().filter(|(known, _)| *known == name).map(|(_, words)| *words).collect::<Vec<_>>()
    };
    assert_eq!(of("FROM"), ["rust:1-alpine AS build", "scratch"]);
    let build = of("RUN").into_iter().find(|words| words.starts_with("cargo")).unwrap();
    assert!(build.contains("--release") && build.contains("--locked") && build.contains("--bin fanline"));
    assert!(root().join("Cargo.lock").exists(), "--locked needs it");
    // Nothing that it needs is kept from it, by the one list that podman and docker both read.
    let ignored = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
    for needed in ["Cargo.toml", "src", "benches/count/Cargo.toml", "loadtest/Cargo.toml"] {
        assert!(root().join(needed).exists());
        assert!(
            !ignored.lines().any(|line| needed == line || needed.starts_with(&format!("{line}/"))),
            "{needed}"
        );
    }
    assert_eq!(list(of("ENTRYPOINT")[0]), ["/fanline"]);
    // The words that follow it start a server at all addresses, here on a port that is free.
    let mut words = list(of("CMD")[0]);
    assert_eq!(words[1], format!("0.0.0.0:{}", of("EXPOSE")[0]));
    words[1] = "0.0.0.0:0".to_owned();
    let mut server = Command::new(env!("CARGO_BIN_EXE_fanline"))
        .args(&words)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.try_wait().unwrap(), None, "it serves");
    // STOPSIGNAL, which ends it with 0.
    assert_eq!(of("STOPSIGNAL"), ["SIGTERM"]);
    let status = stop(&mut server);
    assert!(status.success(), "{status}");
}

/// Ends a server with SIGTERM, and waits for it.
fn stop(server: &mut Child) -> ExitStatus {
    let pid = rustix::process::Pid::from_child(server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Some(status) = server.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill().unwrap();
    panic!("it does not end");
}

/// Makes a root with the binary and, since that of a test is linked to them, its libraries.
fn empty_root() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_fanline"));
    let linked = tool("ldd", "libc-bin", &[binary.to_str().unwrap()], folder.path());
    let linked = String::from_utf8(linked.stdout).unwrap();
    let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
    for library in libraries {
        let copy = folder.path().join(library.trim_start_matches('/'));
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(library, copy).unwrap();
    }
    std::fs::copy(binary, folder.path().join("fanline")).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    folder
}

/// The binary in a root of its own, as the user of the container file.
fn contained(folder: &Path, args: &[&str]) -> Command {
    let file = example("Containerfile");
    let user = instructions(&file).into_iter().find(|(name, _)| *name == "USER").unwrap().1;
    let (user, group) = user.split_once(':').unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user", user, "--map-group", group, "--root"]).arg(folder).arg("/fanline");
    command.args(args).env_clear().env("PATH", "/usr/bin:/bin").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn row_62_it_serves_in_a_root_with_nothing_else_and_without_proc() {
    let folder = empty_root();
    let mut server = contained(folder.path(), &["--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
    let mut client = TcpStream::connect(addr).unwrap();
    let ask = format!("GET / HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    client.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("<title>Fanline</title>"), "{answer}");
    assert!(stop(&mut server).success());
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("set memory_budget") && !said.contains("memory_budget_mib"), "{said}");
}

#[test]
fn row_62_the_certificates_that_the_container_file_copies_are_those_by_which_redis_is_known() {
    let file = example("Containerfile");
    let (from, to) = instructions(&file)
        .into_iter()
        .filter(|(name, words)| *name == "COPY" && words.contains("certificates"))
        .find_map(|(_, words)| words.strip_prefix("--from=build ")?.split_once(' '))
        .unwrap();
    let folder = empty_root();
    let args = ["--listen", "127.0.0.1:0", "--backplane-url", "rediss://127.0.0.1:1/0"];
    let without = contained(folder.path(), &args).output().unwrap();
    assert_eq!(without.status.code(), Some(2));
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(said.contains("there are no certificates by which a server could be known"), "{said}");
    let bundle = folder.path().join(to.trim_start_matches('/'));
    std::fs::create_dir_all(bundle.parent().unwrap()).unwrap();
    // Debian has it in the same place as the image of the first stage.
    std::fs::copy(from, bundle).unwrap_or_else(|error| panic!("{from} (package ca-certificates): {error}"));
    let mut with = contained(folder.path(), &args).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(with.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    assert!(stop(&mut with).success());
}
