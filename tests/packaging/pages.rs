//! The manual page and the completions, read by the tools they are for.

use super::tool;

fn printed(args: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_fanline")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn man_shows_the_manual_page_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fanline.1"), printed(&["man"])).unwrap();
    let args = ["-Tutf8", "-man", "-ww", "-P-cbou", "fanline.1"];
    let shown = tool("groff", "groff", &args, folder.path());
    assert!(shown.status.success() && shown.stderr.is_empty(), "{}", String::from_utf8_lossy(&shown.stderr));
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    for word in ["SYNOPSIS", "--listen", "--message-bytes-max", "FANLINE PEERS", "--sort"] {
        assert!(text.contains(word), "{word}\n{text}");
    }
}

#[test]
fn bash_completes_commands_flags_and_what_a_flag_may_be() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("completions"), printed(&["completions", "bash"])).unwrap();
    for (line, expected) in [
        ("fanline pe", "peers"),
        ("fanline --backplane-u", "--backplane-url"),
        ("fanline peers --sort la", "lag"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let (current, before) = (words[words.len() - 1], words[words.len() - 2]);
        let script = format!(
            "source ./completions; COMP_WORDS=({}); COMP_CWORD={}; _fanline fanline '{current}' '{before}'; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            quoted.join(" "),
            words.len() - 1
        );
        let said = tool("bash", "bash", &["-c", &script], folder.path());
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.lines().any(|word| word == expected), "{line}: {said}");
    }
}
