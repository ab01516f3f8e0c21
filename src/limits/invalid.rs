//! What is wrong with a limit as somebody has written it.

use std::fmt;

use super::Unit;

/// A written limit that is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLimit {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) text: String,
}

impl InvalidLimit {
    /// What is wrong, without the name of the limit, which is written in several ways.
    pub fn what(&self) -> String {
        format!("`{}` is not {}", self.text, self.unit.words())
    }
}

impl fmt::Display for InvalidLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what())
    }
}

impl std::error::Error for InvalidLimit {}
