//! Running groups of cases: a process for each, a few at a time, each with an end to our patience.

use super::catalogue::Group;
use super::report::{self, AGENT, Outcome};
use super::suite::Suite;
use serde_json::json;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What all groups of a run share.
pub(crate) struct Plan<'a> {
    /// The suite to run.
    pub(crate) suite: &'a Suite,
    /// The server under test.
    pub(crate) url: &'a str,
    /// A folder for each group is made in it.
    pub(crate) folder: &'a Path,
    /// Processes at a time.
    pub(crate) jobs: usize,
    /// How long one group may take, where the user knows better.
    pub(crate) patience: Option<Duration>,
}

/// What became of one group.
pub(crate) struct Ran {
    /// Its cases, in order.
    pub(crate) outcomes: Vec<Outcome>,
    /// Why there may be cases missing.
    pub(crate) trouble: Option<String>,
}

struct Running<'a> {
    group: &'a Group,
    folder: PathBuf,
    process: Process,
    started: Instant,
    deadline: Instant,
}

/// A process of the suite; it does not outlive this value.
struct Process {
    child: Child,
    container: Option<String>,
}

impl Process {
    fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(name) = &self.container {
            // Ending the client would leave the container running.
            let _ = quiet(Command::new("docker").args(["kill", name])).status();
        }
        // Either call fails only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

impl Plan<'_> {
    /// Runs every group, the longest first, and calls `done` as each ends.
    ///
    /// # Errors
    /// When the suite cannot be started or its report not be read; a server that misbehaves is no error.
    pub(crate) fn run(
        &self,
        groups: &[Group],
        mut done: impl FnMut(&Group, Duration),
    ) -> io::Result<Vec<Ran>> {
        let mut waiting: VecDeque<&Group> = by_weight(groups);
        let mut running: Vec<Running<'_>> = Vec::new();
        let mut ran = Vec::new();
        loop {
            while running.len() < self.jobs.max(1) {
                let Some(group) = waiting.pop_front() else { break };
                running.push(self.start(group)?);
            }
            if running.is_empty() {
                return Ok(ran);
            }
            thread::sleep(LOOK_AGAIN);
            let (ended, still) = take_ended(running)?;
            running = still;
            for (one, trouble) in ended {
                done(one.group, one.started.elapsed());
                ran.push(one.collect(trouble)?);
            }
        }
    }

    fn start<'a>(&self, group: &'a Group) -> io::Result<Running<'a>> {
        let folder = self.folder.join(&group.name);
        if folder.exists() {
            // What an earlier run left there must not pass for this one's report.
            fs::remove_dir_all(&folder)?;
        }
        // Made by us, so that what a container writes into it can be removed by us.
        fs::create_dir_all(folder.join("report"))?;
        fs::write(folder.join("spec.json"), specification(self.url, group))?;
        let log = File::create(folder.join("suite.log"))?;
        let (mut command, container) = self.suite.command(&folder, &group.name);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let started = Instant::now();
        let patience = self.patience.unwrap_or(Duration::from_secs(group.patience_seconds()));
        let process = Process { child, container };
        Ok(Running { group, folder, process, started, deadline: started + patience })
    }
}

fn by_weight(groups: &[Group]) -> VecDeque<&Group> {
    let mut order: Vec<&Group> = groups.iter().collect();
    order.sort_by_key(|group| std::cmp::Reverse(group.weight()));
    order.into()
}

/// Those that ended or had to be ended, each with what went wrong, and those that still run.
type Ended<'a> = Vec<(Running<'a>, Option<String>)>;

fn take_ended(running: Vec<Running<'_>>) -> io::Result<(Ended<'_>, Vec<Running<'_>>)> {
    let (mut ended, mut still) = (Vec::new(), Vec::new());
    for mut one in running {
        match one.process.child.try_wait()? {
            Some(status) if status.success() => ended.push((one, None)),
            Some(status) => ended.push((one, Some(format!("the suite ended with {status}")))),
            None if Instant::now() >= one.deadline => {
                one.process.stop();
                let seconds = one.started.elapsed().as_secs();
                ended.push((one, Some(format!("given up after {seconds} s"))));
            }
            None => still.push(one),
        }
    }
    Ok((ended, still))
}

impl Running<'_> {
    fn collect(self, trouble: Option<String>) -> io::Result<Ran> {
        let outcomes = report::read(&self.folder.join("report"), &self.group.cases)?;
        let missing = outcomes.iter().any(|outcome| outcome.verdict == report::Verdict::Missing);
        let trouble = match trouble {
            None if !missing => None,
            trouble => {
                let trouble = trouble.unwrap_or_else(|| "the suite left cases out".to_owned());
                Some(format!("group {}: {trouble}; its log ends:\n{}", self.group.name, tail(&self.folder)))
            }
        };
        Ok(Ran { outcomes, trouble })
    }
}

/// The last lines that the suite printed.
fn tail(folder: &Path) -> String {
    let log = fs::read(folder.join("suite.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// The suite's own description of a run.
fn specification(url: &str, group: &Group) -> String {
    let cases: Vec<String> = group.cases.iter().map(ToString::to_string).collect();
    json!({
        "outdir": "./report",
        "servers": [{ "agent": AGENT, "url": url, "options": { "version": 18 } }],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{Profile, groups};
    use super::*;

    #[test]
    fn the_longest_group_runs_first() {
        let groups = groups(&Profile::Full.cases());
        let order = by_weight(&groups);
        assert!(order[0].name.starts_with("12.") && order[order.len() - 1].name == "10");
    }

    #[test]
    fn cases_are_named_one_by_one_since_a_pattern_means_more_than_it_says() {
        let groups = groups(&super::super::catalogue::matching(&["6.4".to_owned()]).expect("cases"));
        let text = specification("ws://127.0.0.1:1/echo", &groups[0]);
        let spec: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(spec["cases"], json!(["6.4.1", "6.4.2", "6.4.3", "6.4.4"]));
    }
}
