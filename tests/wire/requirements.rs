//! Checks `requirements.txt`: every requirement names tests that exist, or says why there is nothing to prove.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LIST: &str = include_str!("requirements.txt");

/// The rows of the product's table that are decided on the wire.
const ROWS: [u8; 23] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 28];

/// One line of the list: section, words, proof.
fn requirements(list: &str) -> Result<Vec<[&str; 3]>, String> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(requirement).collect()
}

fn requirement(line: &str) -> Result<[&str; 3], String> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [section, words, proof] = fields[..] else { return Err(format!("not three fields: {line}")) };
    let number = section.strip_prefix("6455 §").or(section.strip_prefix("7692 §")).unwrap_or_default();
    let is_section = number.starts_with(|c: char| c.is_ascii_digit());
    if !is_section || words.is_empty() || proof.is_empty() {
        return Err(format!("no section, words or proof: {line}"));
    }
    match proof.strip_prefix("n/a") {
        Some(why) if why.strip_prefix(':').is_none_or(|why| why.trim().len() < 20) => {
            Err(format!("no reason why nothing is to be proved: {line}"))
        }
        Some(_) | None => Ok([section, words, proof]),
    }
}

/// The tests a proof names; none where it says why.
fn named(proof: &str) -> Vec<&str> {
    match proof.starts_with("n/a:") {
        true => Vec::new(),
        false => proof.split(',').map(str::trim).collect(),
    }
}

/// The names of all test functions under `tests/` and `src/`.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("tests"), &mut files);
    collect(&root.join("src"), &mut files);
    files.iter().flat_map(|file| tests_in(&fs::read_to_string(file).unwrap())).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Functions that stand behind a `#[test]`.
fn tests_in(source: &str) -> Vec<String> {
    let (mut names, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        is_test |= line == "#[test]";
        if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or_default();
            names.extend(std::mem::take(&mut is_test).then(|| name.to_owned()));
        }
    }
    names
}

#[test]
fn every_requirement_names_tests_that_exist_or_says_why_not() {
    let tests = tests();
    let requirements = requirements(LIST).unwrap();
    let missing: Vec<&str> = requirements
        .iter()
        .flat_map(|[_, _, proof]| named(proof))
        .filter(|name| !tests.contains(*name))
        .collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
    assert!(requirements.len() >= 100, "the list is all there: {}", requirements.len());
}

#[test]
fn every_row_of_the_product_that_is_decided_on_the_wire_has_a_test_named_after_it() {
    let tests = tests();
    for row in ROWS {
        assert!(tests.iter().any(|test| test.starts_with(&format!("row_{row}_"))), "row {row}");
    }
}

#[test]
fn lines_that_are_no_requirements_are_told() {
    for line in [
        "6455 §5.1 | words",
        "6455 §5.1 | words | test | more",
        "6455 §5.1 | | test",
        "6455 §5.1 | words |",
        "6455 | words | test",
        "6454 §5.1 | words | test",
        "6455 §5.1 | words | n/a",
        "6455 §5.1 | words | n/a:",
        "6455 §5.1 | words | n/a: why",
    ] {
        assert!(requirements(line).is_err(), "{line}");
    }
    let line = "# a comment\n\n6455 §5.1 | words | n/a: a reason that says something\n";
    assert_eq!(requirements(line).map(|all| all.len()), Ok(1));
    assert_eq!(tests_in("fn helper() {}\n#[test]\n#[ignore]\nfn it_is(\nfn other() {}"), ["it_is"]);
}
