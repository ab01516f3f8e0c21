//! How much memory the machine has, or the control group that the server runs in.

use std::fs;
use std::path::Path;

/// The least of what the machine has and what each control group above the process allows; `None` where nobody says.
///
/// `root` is where `/proc` and `/sys` are found.
pub(super) fn memory(root: &Path) -> Option<usize> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let by_groups = groups.lines().filter_map(|line| by_group(root, line));
    by_groups.chain(of_machine(root)).min()
}

/// The line `MemTotal: 24576000 kB`.
fn of_machine(root: &Path) -> Option<usize> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// A line of `/proc/self/cgroup`: `0::/a/b` in the second version, `7:memory:/a/b` in the first.
fn by_group(root: &Path, line: &str) -> Option<usize> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (folder, file) = match controllers {
        "" if number == "0" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let folder = root.join(folder);
    // In a container the path may be one of the host, and only the top is to be seen.
    let group = folder.join(path.trim_start_matches('/'));
    let above = group.ancestors().take_while(|above| above.starts_with(&folder));
    above.filter_map(|group| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<usize> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        memory(root.path())
    }

    #[test]
    fn the_least_of_what_the_machine_and_its_groups_allow() {
        let total = ("proc/meminfo", "MemTotal:       1000 kB\nMemFree:  1 kB\n");
        let second = ("proc/self/cgroup", "0::/a/b\n");
        let first = ("proc/self/cgroup", "9:cpu,cpuacct:/x\n7:memory:/docker/1\n");
        let v2 = |path, text| machine(&[total, second, (path, text)]);
        assert_eq!(machine(&[]), None);
        assert_eq!(machine(&[total]), Some(1_024_000));
        assert_eq!(v2("sys/fs/cgroup/a/b/memory.max", "5000\n"), Some(5000));
        assert_eq!(v2("sys/fs/cgroup/a/memory.max", "6000\n"), Some(6000));
        assert_eq!(v2("sys/fs/cgroup/memory.max", "7000\n"), Some(7000));
        assert_eq!(v2("sys/fs/cgroup/a/b/memory.max", "max\n"), Some(1_024_000));
        assert_eq!(v2("sys/fs/cgroup/a/b/memory.max", "9223372036854771712\n"), Some(1_024_000));
        assert_eq!(
            machine(&[total, first, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8000\n")]),
            Some(8000)
        );
        assert_eq!(machine(&[total, ("proc/self/cgroup", "0::/../../up\n")]), Some(1_024_000));
    }

    #[test]
    fn this_machine_has_some() {
        assert!(memory(Path::new("/")).is_some_and(|bytes| bytes > 64 << 20));
    }
}
