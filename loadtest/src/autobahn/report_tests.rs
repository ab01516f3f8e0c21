//! Verdicts, and the reading of reports.

use super::*;

fn case(text: &str) -> CaseId {
    text.parse().expect("a case number")
}

#[test]
fn a_verdict_joins_what_was_exchanged_and_how_it_ended() {
    let table = [
        ("OK", "OK", Verdict::Ok),
        ("NON-STRICT", "OK", Verdict::NonStrict),
        ("INFORMATIONAL", "INFORMATIONAL", Verdict::Informational),
        ("INFORMATIONAL", "OK", Verdict::Informational),
        ("OK", "UNCLEAN", Verdict::Unclean),
        ("OK", "WRONG CODE", Verdict::WrongCode),
        ("NON-STRICT", "WRONG CODE", Verdict::WrongCode),
        ("OK", "FAILED BY CLIENT", Verdict::WrongClose),
        ("OK", "FAILED", Verdict::WrongClose),
        ("UNIMPLEMENTED", "OK", Verdict::Unimplemented),
        ("FAILED", "OK", Verdict::Failed),
        ("FAILED", "UNCLEAN", Verdict::Failed),
        ("SOMETHING NEW", "OK", Verdict::Failed),
    ];
    for (behavior, close, verdict) in table {
        assert_eq!(Verdict::of(behavior, close), verdict, "{behavior} and {close}");
    }
}

#[test]
fn informational_is_right_only_where_the_case_asks_how() {
    for name in ["7.1.6", "7.13.1", "7.13.2"] {
        assert!(!Verdict::Informational.is_failure(case(name), true), "{name}");
    }
    assert!(Verdict::Informational.is_failure(case("7.1.5"), false));
}

#[test]
fn non_strict_fails_only_a_strict_run() {
    assert!(!Verdict::NonStrict.is_failure(case("6.4.1"), false));
    assert!(Verdict::NonStrict.is_failure(case("6.4.1"), true));
    for verdict in &VERDICTS[3..] {
        assert!(verdict.is_failure(case("7.1.6"), false), "{verdict:?}");
    }
}

const INDEX: &str = r#"{ "server": {
  "1.1.1": {"behavior": "OK", "behaviorClose": "OK", "duration": 6, "remoteCloseCode": 1000, "reportfile": "a.json"},
  "1.1.2": {"behavior": "OK", "behaviorClose": "WRONG CODE", "duration": 1795243965500, "remoteCloseCode": 1002, "reportfile": "b.json"}
} }"#;

const DETAIL: &str = r#"{ "description": "Send text.", "expectation": "Receive it.", "result": "Matches.",
  "resultClose": "The close code should have been 1000 or empty", "behaviorClose": "WRONG CODE",
  "expectedClose": {"closeCode": [1000], "closedByMe": true, "requireClean": true},
  "received": [["message", "欢迎", false]], "wirelog": [] }"#;

#[test]
fn a_report_is_read_and_a_case_it_does_not_tell_of_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("index.json"), INDEX).expect("written");
    fs::write(folder.path().join("b.json"), DETAIL).expect("written");
    let cases = [case("1.1.1"), case("1.1.2"), case("1.1.3")];

    let outcomes = read(folder.path(), &cases).expect("readable");

    let verdicts: Vec<Verdict> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Ok, Verdict::WrongCode, Verdict::Missing]);
    assert_eq!(outcomes[1].close_code, Some(1002));
    assert_eq!(outcomes[1].milliseconds, 0, "counted from 1970");
    let detail = outcomes[1].detail.as_ref().expect("what is not OK is told in full");
    assert_eq!(detail.expected_close.codes, [1000]);
    assert_eq!(detail.received(), r#"[["message","欢迎",false]]"#);
}

#[test]
fn without_a_report_every_case_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let outcomes = read(folder.path(), &[case("1.1.1")]).expect("no report is no error");
    assert_eq!(outcomes[0].verdict, Verdict::Missing);
}

#[test]
fn a_report_cut_short_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("index.json"), &INDEX[..40]).expect("written");
    assert!(read(folder.path(), &[case("1.1.1")]).is_err());
}
