//! The container file: no image can be pulled where these tests run, so each of its steps is held against what it needs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{example, root};

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
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Some(status) = server.try_wait().unwrap() {
            return assert!(status.success(), "{status}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill().unwrap();
    panic!("it does not end");
}
