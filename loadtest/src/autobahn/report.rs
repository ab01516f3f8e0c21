//! What the suite found in one case, and what we make of it.

use super::catalogue::CaseId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The name that the server has in the suite's reports.
pub(crate) const AGENT: &str = "server";

/// In milliseconds; no case takes as long.
const A_DAY: u64 = 24 * 60 * 60 * 1_000;

/// What is to be seen of one case in the suite's `index.json`.
#[derive(Clone, Deserialize, Debug)]
pub(crate) struct Row {
    behavior: String,
    #[serde(rename = "behaviorClose")]
    behavior_close: String,
    /// Milliseconds.
    duration: u64,
    #[serde(rename = "remoteCloseCode")]
    close_code: Option<u16>,
    reportfile: String,
}

/// What a case says about the server; in the order of the table's columns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// As the RFC says.
    Ok,
    /// Right, but not what a strict reader would expect.
    NonStrict,
    /// The case asks how, not whether.
    Informational,
    /// Wrong.
    Failed,
    /// The server declined what the case needs.
    Unimplemented,
    /// The connection ended without the closing handshake.
    Unclean,
    /// The connection ended with another close code.
    WrongCode,
    /// The connection was ended by the wrong side, or in a way that the suite has no other word for.
    WrongClose,
    /// The suite says nothing about it.
    Missing,
}

/// The verdicts in the order of the table.
pub(crate) const VERDICTS: [Verdict; 9] = [
    Verdict::Ok,
    Verdict::NonStrict,
    Verdict::Informational,
    Verdict::Failed,
    Verdict::Unimplemented,
    Verdict::Unclean,
    Verdict::WrongCode,
    Verdict::WrongClose,
    Verdict::Missing,
];

impl Verdict {
    /// The word for it in tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NonStrict => "NON-STRICT",
            Self::Informational => "INFORMATIONAL",
            Self::Failed => "FAILED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Unclean => "UNCLEAN",
            Self::WrongCode => "WRONG CODE",
            Self::WrongClose => "WRONG CLOSE",
            Self::Missing => "MISSING",
        }
    }

    /// Whether the run fails for it. `strict` counts NON-STRICT too.
    pub(crate) fn is_failure(self, case: CaseId, strict: bool) -> bool {
        match self {
            Self::Ok => false,
            Self::NonStrict => strict,
            Self::Informational => !asks_how(case),
            Self::Failed
            | Self::Unimplemented
            | Self::Unclean
            | Self::WrongCode
            | Self::WrongClose
            | Self::Missing => true,
        }
    }

    /// A bad close outweighs a good exchange, and a failed exchange outweighs everything.
    fn of(behavior: &str, close: &str) -> Self {
        match (behavior, close) {
            ("OK" | "INFORMATIONAL" | "NON-STRICT", "UNCLEAN") => Self::Unclean,
            ("OK" | "INFORMATIONAL" | "NON-STRICT", "WRONG CODE") => Self::WrongCode,
            ("OK", "OK") => Self::Ok,
            ("NON-STRICT", "OK") => Self::NonStrict,
            ("INFORMATIONAL", "OK" | "INFORMATIONAL") | ("OK", "INFORMATIONAL") => Self::Informational,
            ("OK" | "INFORMATIONAL" | "NON-STRICT", _) => Self::WrongClose,
            ("UNIMPLEMENTED", _) => Self::Unimplemented,
            _ => Self::Failed,
        }
    }
}

/// The cases that ask how a server does it, not whether it is right.
fn asks_how(case: CaseId) -> bool {
    matches!((case.section, case.subsection, case.number), (7, 1, 6) | (7, 13, 1 | 2))
}

/// One case and what became of it.
#[derive(Serialize, Debug)]
pub(crate) struct Outcome {
    /// The case's number.
    #[serde(serialize_with = "as_text")]
    pub(crate) case: CaseId,
    /// What it says about the server.
    pub(crate) verdict: Verdict,
    /// How long it took.
    pub(crate) milliseconds: u64,
    /// The code in the server's close frame, if there was one.
    pub(crate) close_code: Option<u16>,
    /// What the suite tells about it; read only for cases that are not OK.
    pub(crate) detail: Option<Detail>,
}

fn as_text<S: serde::Serializer>(case: &CaseId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(case)
}

/// The suite's own words about one case.
#[derive(Deserialize, Serialize, Debug)]
pub(crate) struct Detail {
    /// What the case does.
    pub(crate) description: String,
    /// What is right.
    pub(crate) expectation: String,
    /// What came of the exchange.
    pub(crate) result: String,
    /// What came of the close.
    #[serde(rename(deserialize = "resultClose"))]
    pub(crate) result_close: String,
    #[serde(rename(deserialize = "behaviorClose"))]
    pub(crate) behavior_close: String,
    #[serde(rename(deserialize = "expectedClose"))]
    pub(crate) expected_close: ExpectedClose,
    /// The messages that the server sent, as the suite writes them down.
    received: serde_json::Value,
}

/// How the case wants the connection to end.
#[derive(Deserialize, Serialize, Default, Debug)]
#[serde(default)]
pub(crate) struct ExpectedClose {
    /// Codes that are right; none at all is right too.
    #[serde(rename(deserialize = "closeCode"))]
    pub(crate) codes: Vec<u16>,
}

impl Detail {
    /// What the server sent, short enough for a line.
    pub(crate) fn received(&self) -> String {
        let mut text = self.received.to_string();
        if let Some((end, _)) = text.char_indices().nth(200) {
            text.truncate(end);
            text.push_str(" ...");
        }
        text
    }
}

/// Reads the report of one group; cases that it does not tell of are [`Verdict::Missing`].
///
/// # Errors
/// When a report is there but cannot be read. No report at all means that every case is missing.
pub(crate) fn read(folder: &Path, cases: &[CaseId]) -> io::Result<Vec<Outcome>> {
    let rows = match fs::read(folder.join("index.json")) {
        Ok(bytes) => rows(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    cases.iter().map(|&case| outcome(folder, case, rows.get(&case.to_string()))).collect()
}

fn rows(index: &[u8]) -> serde_json::Result<BTreeMap<String, Row>> {
    let mut agents: BTreeMap<String, BTreeMap<String, Row>> = serde_json::from_slice(index)?;
    Ok(agents.remove(AGENT).unwrap_or_default())
}

fn outcome(folder: &Path, case: CaseId, row: Option<&Row>) -> io::Result<Outcome> {
    let Some(row) = row else {
        return Ok(Outcome {
            case,
            verdict: Verdict::Missing,
            milliseconds: 0,
            close_code: None,
            detail: None,
        });
    };
    let verdict = Verdict::of(&row.behavior, &row.behavior_close);
    let detail = match verdict {
        Verdict::Ok => None,
        _ => Some(serde_json::from_slice(&fs::read(folder.join(&row.reportfile))?)?),
    };
    // Where the handshake never ended, the suite counts from 1970.
    let milliseconds = if row.duration > A_DAY { 0 } else { row.duration };
    Ok(Outcome { case, verdict, milliseconds, close_code: row.close_code, detail })
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
