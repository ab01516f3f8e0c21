//! The architecture, as a test: who may import whom, what stands where, and what is said twice must be said alike.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fanline::limits::Limits;

/// The modules in levels, the lowest first; each may use those below it, and the crates named beside it.
///
/// `std` and the crates in `EVERYWHERE` go without saying. Modules of one level do not know each other.
const LEVELS: &[&[(&str, &[&str])]] = &[
    &[
        ("limits", &[]),
        ("log", &["tracing"]),
        ("metrics", &[]),
        ("id", &[]),
        ("input", &[]),
        ("planted", &[]),
        ("spare", &[]),
    ],
    &[("ledger", &[]), ("timer", &[]), ("ws", &["bytes", "simdutf8", "zlib_rs"])],
    &[
        (
            "http",
            &[
                "base64",
                "bytes",
                "form_urlencoded",
                "httparse",
                "memchr",
                "percent_encoding",
                "serde_json",
                "sha1",
            ],
        ),
        ("room", &["base64", "bytes", "serde_json", "simdutf8", "slab"]),
    ],
    &[("proxy", &["ipnet", "proxy_header"])],
    &[("record", &["serde", "serde_json"])],
    &[
        (
            "auth",
            &["base64", "hmac", "jsonwebtoken", "ring", "serde", "serde_json", "sha2", "signature", "subtle"],
        ),
        ("outbound", &["bytes"]),
    ],
    &[
        ("conn", &[]),
        (
            "backplane",
            &["base64", "bytes", "crc", "percent_encoding", "resp_rs", "rmp", "rmpv", "serde_json", "sha1"],
        ),
    ],
    &[("engine", &["slab", "tracing"])],
    &[(
        "reactor",
        &[
            "mio",
            "rustix",
            "rustls",
            "rustls_native_certs",
            "signal_hook",
            "signal_hook_mio",
            "socket2",
            "tracing",
        ],
    )],
    &[("exposition", &["prometheus_client"]), ("server", &[])],
    // What the library shows to the outside; the binary's own parts use it as anybody would.
    &[("lib", &[])],
    &[
        ("app", &["base64", "rustix", "serde", "serde_json", "sha1", "tracing", "uuid"]),
        // A client of the admin API, which knows the server only by that.
        ("cli", &["base64", "clap", "httparse", "percent_encoding", "ratatui", "serde_json"]),
    ],
    &[("settings", &["clap", "clap_complete", "clap_mangen", "serde", "strsim", "toml", "tracing"])],
    &[("replay", &[])],
    &[("main", &["listenfd", "rustix", "sd_notify", "tracing", "tracing_subscriber"])],
];

/// Every crate a source file could name.
const CRATES: &[&str] = &[
    "base64",
    "bytes",
    "clap",
    "clap_complete",
    "clap_mangen",
    "crc",
    "form_urlencoded",
    "hmac",
    "httparse",
    "ipnet",
    "jsonwebtoken",
    "listenfd",
    "memchr",
    "mio",
    "percent_encoding",
    "prometheus_client",
    "proxy_header",
    "ratatui",
    "ring",
    "rmp",
    "rmpv",
    "rustix",
    "rustls",
    "rustls_native_certs",
    "sd_notify",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "signal_hook",
    "signal_hook_mio",
    "signature",
    "simdutf8",
    "slab",
    "socket2",
    "strsim",
    "subtle",
    "toml",
    "tracing",
    "tracing_subscriber",
    "uuid",
    "zlib_rs",
];

/// Rows of PRODUCT.md part 1 that must have a test named after them, here or in another language's tests.
// 64 is about the seed's own tests.
const ROWS: &[std::ops::RangeInclusive<usize>] = &[1..=63];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with one of these endings, by their path from the root.
fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let is_foreign =
                path.ends_with("target") || path.ends_with("node_modules") || path.ends_with(".git");
            if path.is_dir() && !is_foreign {
                folders.push(path);
            } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The source without comments and without its tests.
fn code(source: &str) -> String {
    let tests = source.find("#[cfg(test)]").unwrap_or(source.len());
    let lines = source[..tests].lines().map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// The top-level module a file of `src` belongs to.
fn module_of(name: &str) -> &str {
    let first = Path::new(name).components().nth(1).unwrap().as_os_str().to_str().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

fn level_of(module: &str) -> usize {
    let has = |level: &&[(&str, &[&str])]| level.iter().any(|(name, _)| *name == module);
    LEVELS.iter().position(has).unwrap_or_else(|| panic!("{module} has no level"))
}

/// The modules that code names after `crate::`; a name of the library's face counts as `lib`.
fn modules_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let group = rest
            .strip_prefix('{')
            .map_or(rest.lines().next().unwrap_or(""), |rest| &rest[..rest.find("};").unwrap_or(rest.len())]);
        let names: Vec<&str> = match rest.starts_with('{') {
            true => group.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
            false => vec![group],
        };
        for name in names {
            let ident: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let is_module = LEVELS.iter().flat_map(|level| level.iter()).any(|(module, _)| *module == ident);
            used.insert(if is_module { ident } else { "lib".into() });
        }
    }
    used
}

#[test]
fn the_code_map_names_every_module_and_every_path_in_the_documents_exists() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let is_code = |module: &str| !matches!(module, "lib" | "main" | "server" | "conn" | "outbound");
    for (module, _) in LEVELS.iter().flat_map(|level| level.iter()).filter(|(module, _)| is_code(module)) {
        let named = [format!("](src/{module}.rs)"), format!("](src/{module}/")];
        assert!(named.iter().any(|named| map.contains(named)), "ARCHITECTURE.md does not lead to {module}");
    }
    let documents = files(".", &[".md"]);
    assert!(documents.len() > 10);
    for (name, text) in documents {
        for link in links(&text) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = beside(&name, path);
            assert!(target.exists(), "{name} leads to {link}, which is not there");
            if !heading.is_empty() {
                let page = fs::read_to_string(target).unwrap();
                assert!(headings(&page).any(|known| known == heading), "{name}: {link} has no such heading");
            }
        }
    }
}

/// Where a page's links lead, but for those to other sites.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.match_indices("](").map(|(at, _)| page[at + 2..].split(')').next().unwrap());
    targets.filter(|link| !link.contains("://"))
}

/// The file that a link in a page leads to; the page itself where the link is to one of its headings.
fn beside(page: &str, path: &str) -> PathBuf {
    let page = root().join(page);
    if path.is_empty() { page } else { page.parent().unwrap().join(path) }
}

/// A page's headings as links name them: small letters, digits and dashes.
fn headings(page: &str) -> impl Iterator<Item = String> {
    // What stands between two fences is no page's own: a comment of a shell begins with the same sign.
    let prose = page.split("```").step_by(2);
    let titles = prose.flat_map(str::lines).filter(|line| line.starts_with('#'));
    titles.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[test]
fn the_readme_leads_to_every_page_of_the_documents_and_each_says_for_whom_it_is() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let led_to: Vec<&str> = links(&readme).collect();
    let pages = files("docs", &[".md"]);
    assert!(pages.len() > 10);
    for (name, page) in pages {
        assert!(led_to.contains(&name.as_str()), "the README does not lead to {name}");
        let mut begin = page.lines().filter(|line| !line.is_empty());
        assert!(begin.next().unwrap().starts_with("# "), "{name} has no title");
        assert!(
            begin.next().unwrap().starts_with("For anyone who"),
            "{name} does not open with for whom it is"
        );
    }
}

#[test]
fn the_readme_can_be_read_in_ten_minutes() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    // At two hundred words a minute, with what stands in tables to be looked at rather than read.
    let prose = readme.lines().filter(|line| !line.starts_with('|'));
    let words = prose.flat_map(str::split_whitespace).count();
    assert!(words < 2000, "{words} words");
}

#[test]
fn imports_point_down() {
    for (name, source) in files("src", &[".rs"]) {
        let module = module_of(&name);
        let level = level_of(module);
        if module == "lib" {
            continue; // it only names the modules and shows what they have
        }
        for used in modules_used(&code(&source)) {
            let is_own = used == module;
            assert!(
                is_own || level_of(&used) < level,
                "{name} (level {level}) uses {used} ({})",
                level_of(&used)
            );
        }
    }
}

#[test]
fn crates_stand_where_the_table_says() {
    for (name, source) in files("src", &[".rs"]) {
        let code = code(&source);
        let module = module_of(&name);
        let row = LEVELS.iter().flat_map(|level| level.iter()).find(|(named, _)| *named == module);
        let allowed = row.unwrap_or_else(|| panic!("{module} is not in the table")).1;
        for named in CRATES.iter().filter(|named| !allowed.contains(named)) {
            for use_of in [
                format!("use {named}::"),
                format!(" {named}::"),
                format!("({named}::"),
                format!("<{named}::"),
            ] {
                assert!(!code.contains(&use_of), "{name} uses {named}");
            }
        }
    }
}

#[test]
fn only_the_reactor_knows_sockets_and_clocks() {
    for (name, source) in files("src", &[".rs"]).iter().filter(|(name, _)| !name.starts_with("src/reactor/"))
    {
        let code = code(source);
        // The commands are no server: one of them waits for one answer.
        let code = if name == "src/cli/client.rs" {
            code.replace("TcpStream", "").replace("UnixStream", "")
        } else {
            code
        };
        for word in
            ["mio::", "socket2::", "rustls::", "Instant::now", "SystemTime", "TcpStream", "UnixStream"]
        {
            assert!(!code.contains(word), "{name} names {word}");
        }
    }
}

#[test]
fn no_crate_has_unsafe_code() {
    for krate in ["src/lib.rs", "src/main.rs", "loadtest/src/main.rs"] {
        let source = fs::read_to_string(root().join(krate)).unwrap();
        assert!(source.contains("#![forbid(unsafe_code)]"), "{krate}");
    }
    let roots =
        [files("tests", &["main.rs"]), files("benches", &[".rs"]), files("loadtest/peers/src", &[".rs"])];
    for (name, source) in roots.concat().iter().filter(|(name, _)| !name.ends_with("stage/mod.rs")) {
        assert!(source.contains("#![forbid(unsafe_code)]"), "{name}");
    }
}

#[test]
fn no_peer_can_cause_a_panic_that_stands_in_the_code() {
    // `assert!` on what a caller writes is documented where it stands; none of these may be.
    for (name, source) in files("src", &[".rs"]) {
        let code = code(&source);
        for word in [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("] {
            assert!(!code.contains(word), "{name} has {word}");
        }
    }
}

#[test]
fn every_file_can_be_read_at_one_sitting() {
    for folder in ["src", "benches", "loadtest/src"] {
        for (name, source) in files(folder, &[".rs"]) {
            assert!(source.starts_with("//!"), "{name} does not open with what it is");
            let lines = code(&source).lines().count();
            assert!(lines <= 400, "{name} has {lines} lines without its tests");
        }
    }
    for (name, source) in files("examples", &[".rs"]) {
        assert!(source.lines().count() < 40, "{name} is an example of under 40 lines");
    }
}

/// All that holds tests, but for this file.
fn tests() -> String {
    ["src", "tests", "loadtest/src"]
        .iter()
        .flat_map(|folder| files(folder, &[".rs", ".mjs", ".py"]))
        .filter(|(name, _)| name != "tests/tidy.rs")
        .map(|(_, source)| source)
        .collect()
}

#[test]
fn every_promise_of_the_threat_model_has_its_tests() {
    let (tests, page) = (tests(), fs::read_to_string(root().join("SECURITY.md")).unwrap());
    let promises =
        page.split("### What is promised").nth(1).and_then(|rest| rest.split("###").next()).unwrap();
    let rows: Vec<&str> = promises.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() > 10, "{} promises", rows.len());
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}()")), "no such test: {name}");
        }
    }
}

#[test]
fn every_row_has_a_test_named_after_it() {
    let tests = tests();
    let named = |row: usize| {
        let (snake, words) = (format!("row_{row}_"), format!("row {row} "));
        tests.contains(&snake) || tests.contains(&words)
    };
    let missing: Vec<usize> = ROWS.iter().cloned().flatten().filter(|row| !named(*row)).collect();
    assert_eq!(missing, Vec::<usize>::new(), "rows without a test");
}

#[test]
fn the_documents_list_every_limit_with_its_default() {
    let page = fs::read_to_string(root().join("docs/settings.md")).unwrap();
    for limit in Limits::TABLE {
        let row = format!("| `{}` | {} | {} |", limit.name, limit.show(&Limits::default()), limit.reason);
        assert!(page.contains(&row), "docs/settings.md lacks, or says otherwise:\n{row}");
    }
}

#[test]
fn the_readme_and_the_library_show_the_same_example() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let example = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(example.lines().count() <= 25, "{} lines", example.lines().count());
    for line in example.lines().filter(|line| !line.trim().is_empty()) {
        assert!(library.contains(line), "src/lib.rs lacks: {line}");
    }
}
