//! The rules of form that docs/architecture.md states: which folder may use which, that no two files use each other,
//! that a type's name is defined once, and how long a file and a function may be.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Each folder and the folders below it that it may use. A folder may use only what stands above it in this list.
const ARROWS: [(&str, &[&str]); 17] = [
    ("base", &[]),
    ("tables", &["base"]),
    ("wire", &["base"]),
    ("store", &["base"]),
    ("qubes", &["base", "tables"]),
    ("guard", &["base", "wire"]),
    ("nat", &["base", "tables", "wire"]),
    ("flow", &["base", "tables", "wire", "nat"]),
    ("route", &["base", "tables", "wire", "guard"]),
    ("engine", &["base", "tables", "wire", "guard", "nat", "flow", "route"]),
    ("local", &["base", "tables", "wire"]),
    ("xen", &["base", "store"]),
    ("vif", &["base", "tables", "wire", "store", "guard", "route", "xen"]),
    ("vchan", &["base", "xen"]),
    ("config", &["base", "tables", "guard", "engine"]),
    (
        "kernel",
        &[
            "base", "tables", "wire", "store", "qubes", "nat", "route", "engine", "local", "xen", "vif",
            "vchan", "config",
        ],
    ),
    (
        "sim",
        &[
            "base", "tables", "wire", "store", "qubes", "guard", "route", "engine", "xen", "vif", "vchan",
            "config", "kernel",
        ],
    ),
];

/// Lines of the longest file.
const FILE_LINES: usize = 500;

/// Lines of the longest function.
const FUNCTION_LINES: usize = 70;

/// The modules by path (`vif/ring`), each with its code: no tests, no comments.
type Modules = BTreeMap<String, String>;

fn modules() -> Modules {
    let mut modules = Modules::new();
    collect(Path::new("src"), &mut modules);
    assert!(modules.len() > 150, "src was not found");
    modules
}

fn collect(folder: &Path, modules: &mut Modules) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_str().unwrap().to_string();
        if path.is_dir() {
            collect(&path, modules);
        } else if name.ends_with(".rs") && !name.contains("tests") {
            let module = name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
            modules.insert(module.to_string(), code(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// What is compiled outside tests, line by line, without comments.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The modules that `module` names, by `crate::`, `super::` or `self::`.
fn uses(module: &str, modules: &Modules) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = modules[module].as_str();
    while let Some(at) = ["crate::", "super::", "self::"].iter().filter_map(|root| rest.find(root)).min() {
        let is_part = rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        rest = &rest[at..];
        let (path, after) =
            rest.split_at(rest.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c)).unwrap());
        rest = after;
        if is_part {
            continue;
        }
        let group = after.strip_prefix('{').and_then(|group| group.split('}').next()).unwrap_or("");
        let names = group.split(',').map(|name| format!("{path}{}", name.trim()));
        found.extend(names.filter_map(|name| resolve(module, &name, modules)));
    }
    found.remove(module);
    found
}

/// The module that a path within `module` leads to, or that defines what it names.
fn resolve(module: &str, path: &str, modules: &Modules) -> Option<String> {
    let mut at: Vec<&str> = module.split('/').collect();
    for part in path.split("::").filter(|part| !part.is_empty()) {
        match part {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            name => at.push(name),
        }
    }
    while !at.is_empty() && !modules.contains_key(&at.join("/")) {
        at.pop();
    }
    (!at.is_empty()).then(|| at.join("/"))
}

fn folder(module: &str) -> &str {
    module.split('/').next().unwrap()
}

/// The arrows between folders that are not allowed, each with the file it starts in.
fn forbidden_arrows(modules: &Modules) -> Vec<String> {
    let mut forbidden = Vec::new();
    for module in modules.keys().filter(|module| !["lib", "main"].contains(&folder(module))) {
        let (_, allowed) =
            ARROWS.iter().find(|(name, _)| *name == folder(module)).expect("a folder of the list");
        for used in uses(module, modules) {
            if folder(&used) != folder(module) && !allowed.contains(&folder(&used)) {
                forbidden.push(format!("{module} -> {used}"));
            }
        }
    }
    forbidden
}

/// The modules that can be reached from themselves, outside the simulation.
fn circles(modules: &Modules) -> Vec<String> {
    let arrows: BTreeMap<_, _> =
        modules.keys().map(|module| (module.clone(), uses(module, modules))).collect();
    let reaches_itself = |start: &&String| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = arrows[*start].iter().collect();
        while let Some(module) = next.pop() {
            if module == *start {
                return true;
            }
            if seen.insert(module) {
                next.extend(&arrows[module]);
            }
        }
        false
    };
    modules.keys().filter(|module| folder(module) != "sim").filter(reaches_itself).cloned().collect()
}

#[test]
fn arrows_run_only_downward() {
    for (at, (name, allowed)) in ARROWS.iter().enumerate() {
        let above: Vec<_> = ARROWS[..at].iter().map(|(name, _)| name).collect();
        assert!(allowed.iter().all(|folder| above.contains(&folder)), "{name} may use what stands below it");
    }
    let mut modules = modules();
    assert_eq!(forbidden_arrows(&modules), [""; 0]);
    modules.insert("wire/planted".into(), "use crate::flow::table::FlowTable;\n".into());
    assert_eq!(forbidden_arrows(&modules), ["wire/planted -> flow/table"]);
}

#[test]
fn no_two_files_use_each_other() {
    let mut modules = modules();
    assert_eq!(circles(&modules), [""; 0]);
    modules.insert("wire/one".into(), "use super::{two::A, tcp};\n".into());
    modules.insert("wire/two".into(), "fn f() -> crate::wire::one::B {}\n".into());
    assert_eq!(circles(&modules), ["wire/one", "wire/two"]);
}

#[test]
fn a_type_is_defined_once() {
    let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, code) in modules() {
        // What is indented belongs to a trait or a function.
        for line in code.lines() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let kind = words.iter().position(|word| ["struct", "enum", "trait", "type"].contains(word));
            if let Some(name) = kind.filter(|_| !line.starts_with(' ')).and_then(|at| words.get(at + 1)) {
                homes.entry((*name).to_string()).or_default().push(module.clone());
            }
        }
    }
    homes.retain(|name, homes| !name.is_empty() && homes.len() > 1);
    assert_eq!(homes, BTreeMap::new());
}

/// The Rust files below `folder` that have too many lines.
fn too_long(folder: &Path, long: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            too_long(&path, long);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > FILE_LINES {
                long.push(format!("{}: {lines} lines", path.display()));
            }
        }
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut long = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        too_long(Path::new(folder), &mut long);
    }
    for (module, code) in modules() {
        let lines: Vec<&str> = code.lines().collect();
        for (at, line) in
            lines.iter().enumerate().filter(|(_, line)| line.contains("fn ") && !line.ends_with(';'))
        {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", &line[..indent]);
            let length = lines[at..].iter().position(|line| *line == end).map_or(1, |last| last + 1);
            if length > FUNCTION_LINES && line.ends_with(['{', '(', ',']) {
                long.push(format!("{module}: {} has {length} lines", line.trim()));
            }
        }
    }
    assert_eq!(long, [""; 0]);
}
