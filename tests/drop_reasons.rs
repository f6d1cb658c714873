//! Every reason for a drop is named in a test. One that no test names may never be counted, or counted for another.
#![allow(missing_docs)]

use ravelin::base::drop_reason::DropReason;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that name reasons without a packet: the tests of the counts themselves, and this one.
const PASSED_OVER: [&str; 2] = ["src/base/drop_reason.rs", file!()];

/// The Rust files below a folder, but for those that are passed over.
fn sources(folder: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.retain(|path| !PASSED_OVER.iter().any(|passed| path == Path::new(passed)));
    found
}

/// Whether a file below `src` is a module of tests, which is declared elsewhere.
fn is_of_tests(path: &Path) -> bool {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
}

/// The items of `text` that are compiled for tests only. An item ends with a brace as far to the left as it began, or
/// with a semicolon there, as rustfmt writes it.
fn test_items(text: &str) -> String {
    let mut items = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(indent) = line.strip_suffix("#[cfg(test)]") else { continue };
        for line in lines.by_ref() {
            items.push_str(line);
            items.push('\n');
            let is_here = line.strip_prefix(indent).is_some_and(|line| !line.starts_with(' '));
            if is_here && line.ends_with(['}', ';']) {
                break;
            }
        }
    }
    items
}

/// The reasons that `text` names.
fn named(text: &str) -> impl Iterator<Item = String> {
    let names = text.split("DropReason::").skip(1);
    names.map(|rest| rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect())
}

/// Those of `reasons` that none of `texts` names.
fn unnamed(reasons: &[String], texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let all: BTreeSet<String> = texts.into_iter().flat_map(|text| named(&text).collect::<Vec<_>>()).collect();
    reasons.iter().filter(|reason| !all.contains(*reason)).cloned().collect()
}

#[test]
fn every_reason_is_named_in_a_test() {
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let tests = sources("tests").iter().map(read).collect::<Vec<_>>();
    let inside = sources("src")
        .into_iter()
        .map(|path| if is_of_tests(&path) { read(&path) } else { test_items(&read(&path)) });
    let reasons: Vec<String> = DropReason::ALL.iter().map(|reason| format!("{reason:?}")).collect();
    assert_eq!(unnamed(&reasons, tests.into_iter().chain(inside)), Vec::<String>::new());
}

#[test]
fn a_reason_that_no_test_names_is_found() {
    let source = "\
use crate::DropReason;

fn decide() -> DropReason {
    DropReason::Planted
}

#[cfg(test)]
use crate::support;

#[cfg(test)]
mod tests {
    #[test]
    fn one() {
        assert_eq!(decide(), DropReason::SpoofedMac);
    }
}

fn later() -> DropReason {
    DropReason::Buried
}
";
    let of = |reasons: &[&str]| reasons.iter().map(|reason| reason.to_string()).collect::<Vec<_>>();
    let reasons = of(&["Buried", "Planted", "Spoofed", "SpoofedMac"]);
    // One whose name only begins another's is not named.
    assert_eq!(unnamed(&reasons, [test_items(source)]), of(&["Buried", "Planted", "Spoofed"]));
    assert_eq!(unnamed(&reasons, [source.to_string()]), of(&["Spoofed"]));
}
