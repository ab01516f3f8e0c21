//! What a system's own tools read of the command line: a manual page, and completions for shells.

use std::io::{self, Write};

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;

use super::command;

/// A page that is made of the command line itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The manual page, section 1, for `man`.
    Manual,
    /// Completions for a shell.
    Completions(Shell),
}

impl Page {
    /// The commands that print one.
    pub(super) fn commands() -> [Command; 2] {
        [
            Command::new("man").about("Print the manual page, for /usr/local/share/man/man1/fanline.1"),
            Command::new("completions").about("Print completions for a shell").arg(
                Arg::new("shell")
                    .value_name("SHELL")
                    .required(true)
                    .value_parser(value_parser!(Shell))
                    .help("Whose"),
            ),
        ]
    }

    /// The page that a command asks for, if it asks for one.
    pub(super) fn new(name: &str, args: &ArgMatches) -> Option<Self> {
        match name {
            "man" => Some(Page::Manual),
            "completions" => args.get_one("shell").copied().map(Page::Completions),
            _ => None,
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// What the writer says.
    pub fn print(self, out: &mut impl Write) -> io::Result<()> {
        let mut page = Vec::new();
        match self {
            Page::Manual => manual(&mut page)?,
            Page::Completions(shell) => clap_complete::generate(shell, &mut command(), "fanline", &mut page),
        }
        out.write_all(&page)
    }
}

/// One page has it all: the server's flags and limits, and after them each command with its own.
fn manual(page: &mut Vec<u8>) -> io::Result<()> {
    let whole = command();
    Man::new(whole.clone()).date("").manual("Fanline").render(page)?;
    for one in whole.get_subcommands() {
        let man = Man::new(one.clone());
        writeln!(page, ".SH \"FANLINE {}\"", one.get_name().to_uppercase())?;
        writeln!(page, "{}", one.get_about().map(ToString::to_string).unwrap_or_default())?;
        man.render_synopsis_section(page)?;
        if one.get_arguments().next().is_some() {
            man.render_options_section(page)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn printed(page: Page) -> String {
        let mut printed = Vec::new();
        page.print(&mut printed).unwrap();
        String::from_utf8(printed).unwrap()
    }

    #[test]
    fn the_manual_has_every_flag_every_limit_and_every_command() {
        let manual = printed(Page::Manual).replace("\\-", "-");
        for argument in command().get_arguments().filter_map(Arg::get_long) {
            assert!(manual.contains(&format!("--{argument}")), "{argument}");
        }
        for limit in Limits::TABLE {
            assert!(manual.contains(&format!("--{}", limit.name.replace('_', "-"))), "{}", limit.name);
        }
        for one in command().get_subcommands() {
            assert!(manual.contains(&format!("FANLINE {}", one.get_name().to_uppercase())));
        }
    }

    #[test]
    fn completions_know_the_commands_and_their_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let completions = printed(Page::Completions(shell));
            let words = ["peers", "takeover", "backplane-url", "sort"];
            words.iter().for_each(|word| assert!(completions.contains(word), "{shell}: {word}"));
        }
    }
}
