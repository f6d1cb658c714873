//! docs/conformance.md against the tests it names: no id without a test of its name, no such test that is not listed.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every group of requirements and how many it has.
const GROUPS: [(&str, u32); 13] = [
    ("M", 11),
    ("TU", 4),
    ("TT", 6),
    ("TC", 12),
    ("I", 18),
    ("F", 13),
    ("A", 9),
    ("X", 7),
    ("P", 13),
    ("S", 6),
    ("B", 2),
    ("V", 6),
    ("Q", 8),
];

/// A row of the page.
struct Row {
    tests: Vec<String>,
    /// Left to later work: it says so.
    open: bool,
}

/// The rows of the page, by id.
fn listed() -> BTreeMap<String, Row> {
    let page = fs::read_to_string("docs/conformance.md").unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>()).filter(|cells| cells.len() == 3);
    cells
        .map(|cells| {
            let tests = cells[1].split('`').skip(1).step_by(2).map(String::from).collect();
            (cells[0].to_string(), Row { tests, open: cells[2].starts_with("open:") })
        })
        .collect()
}

/// The names of all test functions.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new("tests").to_path_buf(), Path::new("src").to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).unwrap();
                let functions = text.split("#[test]").skip(1).filter_map(|rest| rest.split_once("fn "));
                found.extend(
                    functions.filter_map(|(_, rest)| rest.split_once('(')).map(|(name, _)| name.into()),
                );
            }
        }
    }
    found
}

fn prefix(id: &str) -> String {
    format!("{}_", id.to_lowercase().replace('-', "_"))
}

#[test]
fn every_requirement_has_a_test_of_its_name_and_every_such_test_is_listed() {
    let (listed, tests) = (listed(), tests());
    for (group, count) in GROUPS {
        for id in (1..=count).map(|number| format!("{group}-{number}")) {
            let Row { tests: names, open } =
                listed.get(&id).unwrap_or_else(|| panic!("{id} is not on the page"));
            for name in names {
                assert!(tests.contains(name), "{id}: there is no test {name}");
            }
            let own = names.iter().any(|name| name.starts_with(&prefix(&id)));
            assert_eq!(own, !open, "{id} has a test of its name");
            for test in tests.iter().filter(|test| test.starts_with(&prefix(&id))) {
                assert!(names.contains(test), "{id}: {test} is not listed");
            }
        }
    }
}

/// The rows about Qubes OS: an id, the rule, and what shows it (tests and nested scenarios) or why nothing does.
fn qubes_rows() -> BTreeMap<u32, String> {
    let page = fs::read_to_string("docs/conformance.md").unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| Z-"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
        let [id, _rule, shown] = cells[..] else { panic!("three cells: {row}") };
        (id.parse().unwrap(), shown.to_string())
    })
    .collect()
}

#[test]
fn every_rule_of_qubes_is_shown_by_something_that_exists_or_says_why_not() {
    let (rows, tests) = (qubes_rows(), tests());
    let folders = ["shared", "own", "long"].map(|folder| Path::new("tests/nested/scenarios").join(folder));
    for (number, (id, shown)) in (1..).zip(&rows) {
        assert_eq!(*id, number, "the ids are counted without a gap");
        let names: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        for name in &names {
            let exists = if name.ends_with(".sh") {
                folders.iter().any(|folder| folder.join(name).exists())
            } else {
                tests.contains(*name)
            };
            assert!(exists, "Z-{id}: there is no {name}");
        }
        let excused = ["open: ", "deviation: "].iter().any(|word| shown.starts_with(word));
        assert_eq!(names.is_empty(), excused, "Z-{id} is shown by something or says why not: {shown}");
    }
}
