//! Finding a Python 2.7 that runs.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable that names the interpreter.
const VARIABLE: &str = "FANLINE_PYTHON2";

/// Where it is looked for.
pub(crate) const PLACES: &str = "FANLINE_PYTHON2, python2.7 and python2 on PATH, and pyenv's 2.7.*";

/// An interpreter that runs, if there is one in any of [`PLACES`].
///
/// A name on PATH proves nothing: it may be a shim of pyenv for a version that is not chosen. So each candidate is tried.
///
/// # Errors
/// When the variable names something else.
pub(crate) fn find() -> Result<Option<PathBuf>, String> {
    if let Some(path) = env::var_os(VARIABLE).map(PathBuf::from) {
        let found = answer(&path);
        return found
            .map(Some)
            .ok_or_else(|| format!("{VARIABLE}={} is no Python 2.7 that runs", path.display()));
    }
    let on_path = ["python2.7", "python2"].map(PathBuf::from).into_iter();
    let under_pyenv = pyenv_root().map(|root| versions(&root)).unwrap_or_default();
    Ok(on_path.chain(under_pyenv).find_map(|candidate| answer(&candidate)))
}

/// The interpreter's own idea of where it is, if it runs and is a 2.7.
fn answer(candidate: &Path) -> Option<PathBuf> {
    const QUESTION: &str =
        "import sys; print('%d.%d %s' % (sys.version_info[0], sys.version_info[1], sys.executable))";
    let output = Command::new(candidate).args(["-c", QUESTION]).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.strip_prefix("2.7 ").map(|path| PathBuf::from(path.trim()))
}

fn pyenv_root() -> Option<PathBuf> {
    let given = env::var_os("PYENV_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from);
    given.or_else(|| env::home_dir().map(|home| home.join(".pyenv")))
}

/// The interpreters of pyenv's 2.7 versions, the newest first.
fn versions(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join("versions")) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((patch(&entry.file_name())?, entry.path().join("bin/python2.7"))))
        .collect();
    found.sort_unstable_by_key(|&(patch, _)| std::cmp::Reverse(patch));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The 18 of `2.7.18`.
fn patch(version: &OsStr) -> Option<u32> {
    version.to_str()?.strip_prefix("2.7.")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        path
    }

    #[test]
    fn only_an_interpreter_that_answers_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let shim = script(folder.path(), "shim", "#!/bin/sh\necho command not found >&2\nexit 127\n");
        let three = script(folder.path(), "three", "#!/bin/sh\necho 3.11 /usr/bin/python3\n");
        let two = script(folder.path(), "two", "#!/bin/sh\necho 2.7 /opt/python2.7\n");
        assert_eq!(answer(&shim), None);
        assert_eq!(answer(&three), None);
        assert_eq!(answer(&two), Some(PathBuf::from("/opt/python2.7")));
        assert_eq!(answer(&folder.path().join("absent")), None);
    }

    #[test]
    fn the_newest_version_under_pyenv_comes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["2.7.9", "2.7.18", "3.11.7", "2.7-dev"] {
            fs::create_dir_all(folder.path().join("versions").join(name)).expect("created");
        }
        let found = versions(folder.path());
        let at = |version: &str| folder.path().join("versions").join(version).join("bin/python2.7");
        assert_eq!(found, [at("2.7.18"), at("2.7.9")]);
    }
}
