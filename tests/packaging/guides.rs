//! The README and the pages in `docs`: every command in them is run, in its order, in a network of its own.
//!
//! A block of `sh` is run as it stands, and each of its commands has to succeed. A block of another language whose first
//! line is a comment with a file's name becomes that file. `console` is for what needs a system of its own, and is listed
//! below with its reason; Rust is compiled and run by the documentation's own tests.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::root;

/// How long one guide may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// The commands that are not run here, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "cargo install --path .",
        "it would build everything once more; it is what `cargo build` does, and a copy",
    ),
    ("install -m 755 target/release/fanline /usr/local/bin/", "the machine of a test is not to be changed"),
    ("install -D -m 644 fanline.toml /etc/fanline/fanline.toml", "as above"),
    ("install -m 644 examples/systemd/fanline.service /etc/systemd/system/", "as above"),
    (
        "cargo loadtest echo --connections 64 --size 32",
        "the harness has tests of its own, and this takes minutes",
    ),
    ("cargo loadtest fanout --subscribers 1000 --rate 100 --bystander", "as above"),
    ("cargo loadtest nodes --seconds 2 --warmup 0.5", "as above; loadtest/verify.sh runs it in small"),
    ("cargo loadtest idle", "as above; loadtest/verify.sh runs it"),
    ("cargo loadtest compare --peer bare --rounds 3 --seconds 1", "as above"),
    ("cargo loadtest push --ways websocket,long-poll", "as above"),
    ("systemctl enable --now fanline", "it needs systemd as process 1; the units are tested beside this"),
    ("systemctl enable --now fanline@{1..4}", "as above"),
    ("podman build -f examples/Containerfile -t fanline .", "the file is tested beside this"),
    (
        "podman run --rm -p 8080:8080 -v ./fanline.toml:/etc/fanline/fanline.toml:ro fanline --config /etc/fanline/fanline.toml",
        "as above",
    ),
    ("fanline", "it is started in the next block"),
    ("cargo loadtest compare --rounds 5 --seconds 2", "it takes an hour, and nine other servers"),
    ("cargo loadtest push", "the harness has tests of its own; loadtest/verify.sh runs it in small"),
    ("cargo test", "this is it"),
    ("loadtest/verify.sh", "it runs this"),
];

struct Block<'g> {
    language: &'g str,
    lines: Vec<&'g str>,
}

fn blocks(guide: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in guide.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some(Block { language, lines: Vec::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// One script of all blocks. A server that is started is waited for before the next command.
fn script(guide: &str) -> String {
    let mut script = String::from(
        "set -eu\n\
         ip link set lo up\n\
         listening() { awk '$4 == \"0A\"' /proc/net/tcp /proc/net/tcp6 | wc -l; }\n\
         await() { for _ in {1..200}; do [ \"$(listening)\" -le \"$1\" ] || return 0; sleep 0.05; done; \
           [ -n \"${2:-}\" ] || { echo 'nothing listens' >&2; exit 1; }; }\n",
    );
    let mut running = BTreeSet::new();
    for block in blocks(guide) {
        match block.language {
            "sh" => {
                for line in block.lines {
                    // The same command once more shares the ports of the first, or takes them over: it makes none.
                    let adds = line.ends_with(" &") && running.insert(line);
                    if adds {
                        script.push_str("__before=$(listening)\n");
                    }
                    script.push_str(line);
                    script.push('\n');
                    if adds {
                        script.push_str("await \"$__before\"\n");
                    }
                    if line.starts_with("kill") {
                        running.clear();
                    }
                }
            }
            "console" => {
                for line in block.lines {
                    let command = line.strip_prefix("$ ").or(line.strip_prefix("# ")).unwrap();
                    assert!(
                        ELSEWHERE.iter().any(|(known, _)| *known == command),
                        "{command}: is it not run?"
                    );
                }
            }
            "text" | "rust" | "rust,no_run" | "json" => {}
            _ => {
                let name = block.lines[0].trim_start_matches(['#', '/', ' ']);
                assert!(!name.is_empty() && !name.contains([' ', '/']), "{name}: is this a file's name?");
                script.push_str(&format!("cat >{name} <<'END_OF_FILE'\n"));
                block.lines.iter().for_each(|line| script.push_str(&format!("{line}\n")));
                script.push_str("END_OF_FILE\n");
            }
        }
    }
    script
}

/// Runs a page's commands in an empty folder, where `fanline` is the one that was built for this test.
fn run(name: &str) {
    let folder = if name == "README.md" { root() } else { root().join("docs") };
    let guide = std::fs::read_to_string(folder.join(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_fanline")).parent().unwrap();
    let path = format!("{}:{}:/usr/sbin:/sbin", binary.display(), std::env::var("PATH").unwrap());
    let said = folder.path().join("said.log");
    let log = std::fs::File::create(&said).unwrap();
    // Ports of its own: whatever listens on this machine is not in the way, and the guide may use the usual ones.
    let as_root = if rustix::process::geteuid().is_root() { &[][..] } else { &["--map-root-user"][..] };
    let mut shell = Command::new("unshare")
        .arg("--net")
        .args(as_root)
        .args(["bash", "-c", &script(&guide)])
        .env("PATH", path)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("unshare (Debian's package util-linux)");
    let begun = Instant::now();
    let status = loop {
        match shell.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if begun.elapsed() > PATIENCE => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    // What the guide has started in the background goes with it.
    kill_process_group(Pid::from_child(&shell), Signal::KILL).unwrap_or_default();
    let said = std::fs::read_to_string(said).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{name}: {status:?}\n{said}");
}

#[test]
fn the_guide_to_running_it_holds() {
    run("run.md");
}

#[test]
fn the_guide_to_a_proxy_in_front_holds() {
    run("proxy.md");
}

#[test]
fn the_guide_to_several_nodes_holds() {
    run("scale.md");
}

#[test]
fn the_guide_to_measuring_holds() {
    run("measure.md");
}

#[test]
fn the_guide_to_moving_a_chat_holds() {
    run("migrate.md");
}

#[test]
fn the_readme_holds() {
    run("README.md");
}

#[test]
fn the_page_on_settings_holds() {
    run("settings.md");
}

#[test]
fn the_page_on_who_may_do_what_holds() {
    run("auth.md");
}

#[test]
fn the_page_on_what_goes_over_the_wire_holds() {
    run("protocol.md");
}

#[test]
fn the_page_on_the_http_api_holds() {
    run("http.md");
}

#[test]
fn the_page_on_restarts_holds() {
    run("restart.md");
}

#[test]
fn the_page_on_the_backplane_holds() {
    run("backplane.md");
}

#[test]
fn the_page_on_channels_holds() {
    run("channels.md");
}

#[test]
fn the_page_on_looking_inside_holds() {
    run("admin.md");
}

#[test]
fn the_page_on_what_the_server_says_of_itself_holds() {
    run("metrics.md");
}

#[test]
fn the_page_on_recordings_holds() {
    run("record.md");
}

#[test]
fn every_page_is_run_here_or_has_nothing_to_run() {
    let source = include_str!("guides.rs");
    let pages = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for path in pages.chain([root().join("README.md")]) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let guide = std::fs::read_to_string(&path).unwrap();
        let is_run = source.contains(&format!("run(\"{name}\")"));
        let has_commands = blocks(&guide).iter().any(|block| block.language == "sh");
        assert_eq!(is_run, has_commands, "{name}");
    }
}
