//! The systemd units: every directive is known, the sandbox is tight, and what they run exists.

use std::collections::BTreeSet;

use super::{example, tool};

/// What `systemd-analyze security` may say of the sandbox, in tenths: from 0, nothing is exposed, to 100.
const EXPOSURE_MAX: &str = "20";

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_little_exposed() {
    let folder = tempfile::tempdir().unwrap();
    for (name, instance) in
        [("fanline.service", "fanline.service"), ("fanline@.service", "fanline@3.service")]
    {
        let unit = example(&format!("systemd/{name}"));
        assert!(unit.contains("/usr/local/bin/fanline "), "{name}");
        let unit = unit.replace("/usr/local/bin/fanline ", &format!("{} ", env!("CARGO_BIN_EXE_fanline")));
        std::fs::write(folder.path().join(instance), unit).unwrap();
        let path = folder.path().join(instance);
        let path = path.to_str().unwrap();
        let verified = tool("systemd-analyze", "systemd", &["verify", "--man=no", path], folder.path());
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success() && said.is_empty(), "{name}: {said}");
        let args = ["security", "--no-pager", "--offline=true", "--threshold", EXPOSURE_MAX, path];
        let judged = tool("systemd-analyze", "systemd", &args, folder.path());
        assert!(judged.status.success(), "{name}: {}", String::from_utf8_lossy(&judged.stdout));
    }
}

/// The lines that say something.
fn directives(unit: &str) -> BTreeSet<&str> {
    unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn row_22_of_part_2_the_unit_for_each_core_is_the_other_one_but_for_the_shared_port() {
    let (one, each) = (example("systemd/fanline.service"), example("systemd/fanline@.service"));
    let (one, each) = (directives(&one), directives(&each));
    let differs: Vec<&str> = each.difference(&one).copied().collect();
    assert_eq!(
        differs,
        [
            "Description=Fanline WebSocket server, process %i",
            "ExecStart=/usr/local/bin/fanline --config /etc/fanline/fanline.toml --reuse-port \
             --admin-listen unix:/run/fanline-%i/admin.sock",
            "RuntimeDirectory=fanline-%i",
        ]
    );
    assert_eq!(one.difference(&each).count(), differs.len());
}
