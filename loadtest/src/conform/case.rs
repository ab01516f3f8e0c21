//! What a case is: a sentence with its section, and a check that passes, fails or is skipped in words.

use super::target::Target;
use crate::client::Broken;

/// Why a case did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server broke the rule: how.
    Failed(String),
    /// The case does not apply to this server: why.
    Skipped(String),
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Fault {
        Fault::Failed(broken.0)
    }
}

/// What a check comes to.
pub(crate) type Outcome = Result<(), Fault>;

/// Fails with these words.
pub(crate) fn fail<T>(words: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Failed(words.into()))
}

/// Skips with these words.
pub(crate) fn skip<T>(words: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Skipped(words.into()))
}

type Check = Box<dyn Fn(&Target) -> Outcome + Send + Sync>;

/// One rule and the way to see it kept.
pub(crate) struct Case {
    /// The section and the rule, as `s5_5_1_close_echoes_the_code`.
    pub(crate) name: String,
    /// The group's title in the report.
    pub(crate) group: &'static str,
    check: Check,
}

impl Case {
    /// A case that runs `check`; its group is set when the groups are collected.
    pub(crate) fn new(
        name: impl Into<String>,
        check: impl Fn(&Target) -> Outcome + Send + Sync + 'static,
    ) -> Case {
        Case { name: name.into(), group: "", check: Box::new(check) }
    }

    /// Runs the case on connections of its own.
    pub(crate) fn run(&self, target: &Target) -> Outcome {
        (self.check)(target)
    }
}
