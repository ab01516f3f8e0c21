//! The fuzz targets over their corpus, every input also cut short and with a byte changed: no fuzzer needed.
#![forbid(unsafe_code)]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// Changes of one input that a test run can afford.
const CHANGES: usize = 40;

#[test]
fn every_target_takes_its_corpus_and_what_is_nearly_the_same() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let mut inputs: Vec<_> =
            std::fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for path in inputs {
            let input = std::fs::read(&path).unwrap();
            // Printed where it fails; otherwise nobody sees it.
            println!("{}", path.display());
            target(&input);
            for change in 0..CHANGES.min(input.len()) {
                let at = change * input.len() / CHANGES.min(input.len());
                target(&input[..at]);
                let mut changed = input.clone();
                changed[at] ^= 1 << (change % 8);
                target(&changed);
            }
        }
    }
}
