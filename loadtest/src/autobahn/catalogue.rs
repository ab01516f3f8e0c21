//! Which cases the Autobahn suite 0.8.2 has, and which of them a profile runs.
//!
//! The suite itself forgets a case that it never came to; only who knows what was to come can call it missing. Hence the
//! list stands here, and the installation compares it with the suite's own.

use clap::ValueEnum;
use std::fmt;
use std::str::FromStr;

/// A section of the suite: its number, what it is about, and the sizes of its subsections.
pub(crate) struct Section {
    /// The first number of its cases.
    pub(crate) number: u8,
    /// What it is about, in a word or three.
    pub(crate) name: &'static str,
    /// Subsection and number of its cases; subsection 0 means that the cases are numbered directly: `2.1`.
    subsections: &'static [(u8, u8)],
}

const fn section(number: u8, name: &'static str, subsections: &'static [(u8, u8)]) -> Section {
    Section { number, name, subsections }
}

/// Every section, in the suite's order.
pub(crate) const SECTIONS: [Section; 11] = [
    section(1, "framing", &[(1, 8), (2, 8)]),
    section(2, "pings and pongs", &[(0, 11)]),
    section(3, "reserved bits", &[(0, 7)]),
    section(4, "opcodes", &[(1, 5), (2, 5)]),
    section(5, "fragmentation", &[(0, 20)]),
    section(6, "UTF-8", &UTF8),
    section(7, "close", &[(1, 6), (3, 6), (5, 1), (7, 13), (9, 9), (13, 2)]),
    section(9, "limits and speed", &[(1, 6), (2, 6), (3, 9), (4, 9), (5, 6), (6, 6), (7, 6), (8, 6)]),
    section(10, "auto-fragmentation", &[(1, 1)]),
    section(12, "deflate, payloads", &[(1, 18), (2, 18), (3, 18), (4, 18), (5, 18)]),
    section(13, "deflate, parameters", &[(1, 18), (2, 18), (3, 18), (4, 18), (5, 18), (6, 18), (7, 18)]),
];

#[rustfmt::skip]
const UTF8: [(u8, u8); 23] = [
    (1, 3), (2, 4), (3, 2), (4, 4), (5, 5), (6, 11), (7, 4), (8, 2), (9, 4), (10, 3), (11, 5), (12, 8),
    (13, 5), (14, 10), (15, 1), (16, 3), (17, 5), (18, 5), (19, 5), (20, 7), (21, 8), (22, 34), (23, 7),
];

/// What `quick` takes of every group of sections 12 and 13: 16 B, 1 KiB, 32 KiB, and 8 KiB in frames of 256 B.
const QUICK_SIZES: [u8; 4] = [1, 4, 8, 11];

/// The number of a case, `6.4.1` or `2.10`; cases sort as numbers do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct CaseId {
    /// The first number.
    pub(crate) section: u8,
    /// The second number, or 0 in sections that have only two.
    pub(crate) subsection: u8,
    /// The last number.
    pub(crate) number: u8,
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subsection {
            0 => write!(f, "{}.{}", self.section, self.number),
            subsection => write!(f, "{}.{subsection}.{}", self.section, self.number),
        }
    }
}

impl FromStr for CaseId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Result<Vec<u8>, _> = text.split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[section, number]) => Ok(Self { section, subsection: 0, number }),
            Ok(&[section, subsection, number]) => Ok(Self { section, subsection, number }),
            _ => Err(format!("{text} is not the number of a case")),
        }
    }
}

/// How much of the suite to run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Profile {
    /// Sections 1 to 7 and 10: under half a minute.
    Ci,
    /// Sections 1 to 10, and four sizes of every group of 12 and 13: a minute or two.
    Quick,
    /// All 517 cases: a quarter of an hour.
    Full,
}

impl Profile {
    fn takes(self, case: CaseId) -> bool {
        match (self, case.section) {
            (Self::Full, _) | (_, 1..=7 | 10) => true,
            (Self::Ci, _) => false,
            (Self::Quick, 12 | 13) => QUICK_SIZES.contains(&case.number),
            (Self::Quick, _) => true,
        }
    }

    /// The cases of the profile, in order.
    pub(crate) fn cases(self) -> Vec<CaseId> {
        every_case().filter(|&case| self.takes(case)).collect()
    }
}

fn every_case() -> impl Iterator<Item = CaseId> {
    SECTIONS.iter().flat_map(|section| {
        section.subsections.iter().flat_map(move |&(subsection, count)| {
            (1..=count).map(move |number| CaseId { section: section.number, subsection, number })
        })
    })
}

/// The cases that one of the patterns names: a number (`6.4.1`), the beginning of some (`12`, `6.4`), or with `*` for the rest
/// (`12.*`, `13.*.1`).
///
/// # Errors
/// Names the first pattern that no case answers to.
pub(crate) fn matching(patterns: &[String]) -> Result<Vec<CaseId>, String> {
    for pattern in patterns {
        if !every_case().any(|case| answers(case, pattern)) {
            return Err(format!("no case is called {pattern}"));
        }
    }
    Ok(every_case().filter(|&case| patterns.iter().any(|pattern| answers(case, pattern))).collect())
}

fn answers(case: CaseId, pattern: &str) -> bool {
    let id = case.to_string();
    let mut numbers = id.split('.');
    pattern.split('.').all(|wanted| numbers.next().is_some_and(|number| wanted == "*" || wanted == number))
}

/// Cases that are run by one process of the suite, and reported together.
#[derive(Debug)]
pub(crate) struct Group {
    /// `6`, or `12.3` in the long sections.
    pub(crate) name: String,
    /// The cases, in order; never empty.
    pub(crate) cases: Vec<CaseId>,
}

impl Group {
    /// How long the suite may take before the group is given up. In a bad case it waits itself, in sections 9, 12 and 13
    /// for minutes; three or four such cases are still reported.
    pub(crate) fn patience_seconds(&self) -> u64 {
        let each = |case: &CaseId| match case.section {
            9 => 40,
            12 | 13 => 30,
            _ => 3,
        };
        60 + self.cases.iter().map(each).sum::<u64>()
    }

    /// An estimate of the work, to begin with the longest.
    pub(crate) fn weight(&self) -> u64 {
        let each = |case: &CaseId| match case.section {
            9 => 10,
            12 | 13 => 10 * u64::from(case.number),
            _ => 1,
        };
        self.cases.iter().map(each).sum()
    }
}

/// Groups of cases: short sections whole, long ones (9, 12 and 13) by subsection.
pub(crate) fn groups(cases: &[CaseId]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for &case in cases {
        let name = match case.section {
            9 | 12 | 13 => format!("{}.{}", case.section, case.subsection),
            section => section.to_string(),
        };
        match groups.last_mut() {
            Some(last) if last.name == name => last.cases.push(case),
            _ => groups.push(Group { name, cases: vec![case] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_have_247_and_349_and_517_cases() {
        let sizes = [Profile::Ci, Profile::Quick, Profile::Full].map(|profile| profile.cases().len());
        assert_eq!(sizes, [247, 349, 517]);
    }

    #[test]
    fn cases_are_in_order_and_read_back_as_they_are_written() {
        let cases = Profile::Full.cases();
        assert!(cases.is_sorted());
        for case in cases {
            assert_eq!(case.to_string().parse(), Ok(case));
        }
        assert!("6".parse::<CaseId>().is_err());
        assert!("6.x.1".parse::<CaseId>().is_err());
    }

    #[test]
    fn a_pattern_names_whole_numbers_not_their_beginnings() {
        let names = |pattern: &str| {
            matching(&[pattern.to_owned()])
                .map(|cases| cases.iter().map(CaseId::to_string).collect::<Vec<_>>())
        };
        assert_eq!(names("1").map(|names| names.len()), Ok(16));
        assert_eq!(names("1.*").map(|names| names.len()), Ok(16));
        assert_eq!(names("6.1").map(|names| names.len()), Ok(3));
        assert_eq!(names("2.1"), Ok(vec!["2.1".to_owned()]));
        assert_eq!(names("13.*.1").map(|names| names.len()), Ok(7));
        assert_eq!(names("11.1"), Err("no case is called 11.1".to_owned()));
    }

    #[test]
    fn patterns_that_overlap_name_a_case_once() {
        assert_eq!(matching(&["6.4".to_owned(), "6.4.1".to_owned()]).map(|cases| cases.len()), Ok(4));
    }

    #[test]
    fn long_sections_are_run_by_subsection() {
        let groups = groups(&Profile::Quick.cases());
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names[..8], ["1", "2", "3", "4", "5", "6", "7", "9.1"]);
        assert_eq!(groups.len(), 7 + 8 + 1 + 12);
        assert_eq!(groups.iter().map(|group| group.cases.len()).sum::<usize>(), 349);
    }
}
