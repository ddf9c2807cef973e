//! What no compiler checks: the diagram of crates, the shape of files, and that the pages of text
//! say what is so. Each test names the files at fault and what to do about them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What each crate may depend on, `dev-dependencies` included; ARCHITECTURE.md shows the same.
const DIAGRAM: [(&str, &[&str]); 8] = [
    ("proto", &[]),
    ("scheduler", &["proto"]),
    ("store", &["proto"]),
    ("master", &["proto", "scheduler", "store"]),
    ("agent", &["proto", "store"]),
    ("sdk", &["proto", "store"]),
    ("cli", &["master", "agent", "sdk"]),
    ("tests", &["proto", "scheduler", "store", "master", "agent", "sdk"]),
];
/// What would make the pure core impure.
const NOT_IN_SCHEDULER: [&str; 8] =
    ["tokio", "tonic", "raft", "rand", "rand_chacha", "getrandom", "redb", "wasmtime"];
/// Longest file, in lines, and from where a file is listed as one to think about.
const MAX_LINES: usize = 600;
const LONG_LINES: usize = 400;
/// Written in two halves, or this file would hold what it forbids.
const NOT_IN_CODE: [&str; 3] =
    [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("d", "bg!(")];
/// Folders of what is made, not written.
const MADE: [&str; 2] = ["target", ".git"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path as people write it: from the repository's root.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Every file below a directory whose name ends so, ordered; what was made is left out.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory of the repository") {
        let entry = entry.expect("an entry");
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().expect("a type").is_dir() {
            if !MADE.contains(&&*name) {
                found.append(&mut files(&path, ending));
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What cargo knows of the workspace's own packages.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The folder of a package of ours: `weir-proto` is in `proto`, `weir` in `cli`.
fn folder_of(package: &str) -> Option<&str> {
    match package {
        "weir" => Some("cli"),
        package => package.strip_prefix("weir-"),
    }
}

fn dependencies(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    let name = |dependency: &Value| dependency["name"].as_str().expect("a name").to_owned();
    dependencies.iter().map(name).collect()
}

/// Folder by folder, the crates of ours that it depends on.
fn actual_diagram() -> BTreeMap<String, BTreeSet<String>> {
    let row = |package: &Value| {
        let name = package["name"].as_str().expect("a name");
        let folder = folder_of(name).expect("a package of ours").to_owned();
        let on = dependencies(package);
        (folder, on.iter().filter_map(|name| folder_of(name)).map(String::from).collect())
    };
    packages().iter().map(row).collect()
}

fn allowed_diagram() -> BTreeMap<String, BTreeSet<String>> {
    let row = |(folder, allowed): (&str, &[&str])| {
        (folder.to_owned(), allowed.iter().map(|name| (*name).to_owned()).collect())
    };
    DIAGRAM.into_iter().map(row).collect()
}

/// The lines `crate -> crate crate` between the fences of ARCHITECTURE.md's first diagram.
fn documented_diagram() -> BTreeMap<String, BTreeSet<String>> {
    let page = read(&root().join("ARCHITECTURE.md"));
    let diagram = page.split("```text crates\n").nth(1).and_then(|rest| rest.split("```").next());
    let diagram = diagram.expect("ARCHITECTURE.md has a block that begins with ```text crates");
    let row = |line: &str| {
        let (folder, rest) = line.split_once("->").expect("a line is `crate -> crate crate`");
        let words = rest.split_whitespace().map(String::from);
        (folder.trim().to_owned(), words.collect())
    };
    diagram.lines().filter(|line| !line.trim().is_empty()).map(row).collect()
}

/// Fails with a line for each fault.
fn no_faults(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}\n", faults.join("\n  "));
}

#[test]
fn crates_depend_only_on_what_the_diagram_allows() {
    let allowed = allowed_diagram();
    let mut faults = Vec::new();
    for (folder, ours) in actual_diagram() {
        let Some(allowed) = allowed.get(&folder) else {
            faults.push(format!("{folder} is not in the diagram of this test"));
            continue;
        };
        let extra = ours.difference(allowed);
        faults.extend(extra.map(|name| format!("{folder} depends on {name}")));
    }
    no_faults(&faults, "a dependency between crates is a decision: change the diagram first");
}

#[test]
fn the_diagram_in_architecture_is_the_one_that_holds() {
    assert_eq!(documented_diagram(), allowed_diagram(), "ARCHITECTURE.md against this test");
}

#[test]
fn the_scheduler_is_pure() {
    let packages = packages();
    let scheduler = packages.iter().find(|package| package["name"] == "weir-scheduler");
    let dependencies = dependencies(scheduler.expect("weir-scheduler"));
    let faults = NOT_IN_SCHEDULER.iter().filter(|name| dependencies.contains(**name));
    let faults: Vec<String> = faults.map(|name| format!("it depends on {name}")).collect();
    no_faults(&faults, "scheduler/ has no clock, no random number and no I/O");
}

#[test]
fn every_source_file_says_first_what_it_is_for() {
    let faults = files(&root(), ".rs");
    let faults = faults.iter().filter(|path| !read(path).starts_with("//! "));
    let faults: Vec<String> = faults.map(|path| shown(path)).collect();
    no_faults(&faults, "a file opens with one to five lines of `//!`");
}

#[test]
fn no_source_file_is_too_long() {
    let mut faults = Vec::new();
    for path in files(&root(), ".rs") {
        let lines = read(&path).lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{}: {lines} lines", shown(&path)));
        } else if lines > LONG_LINES {
            println!("long: {} has {lines} lines", shown(&path));
        }
    }
    no_faults(&faults, &format!("a file has at most {MAX_LINES} lines: split it by idea"));
}

#[test]
fn modules_stand_beside_their_folders() {
    let faults: Vec<String> = files(&root(), "mod.rs")
        .iter()
        .filter(|path| path.file_name().is_some_and(|name| name == "mod.rs"))
        .map(|path| shown(path))
        .collect();
    no_faults(&faults, "write `foo.rs` beside `foo/`");
}

#[test]
fn nothing_unfinished_is_left_in_the_code() {
    let mut faults = Vec::new();
    for path in files(&root(), ".rs") {
        for (number, line) in read(&path).lines().enumerate() {
            let left = NOT_IN_CODE.iter().filter(|word| line.contains(**word));
            faults.extend(left.map(|word| format!("{}:{}: {word}", shown(&path), number + 1)));
        }
    }
    no_faults(&faults, "finish it, or open an issue");
}

#[test]
fn every_message_is_in_the_package_weir_v1() {
    let protos = files(&root(), ".proto");
    assert!(!protos.is_empty(), "there are .proto files");
    let is_ours =
        |path: &&PathBuf| read(path).lines().any(|line| line.trim() == "package weir.v1;");
    let faults: Vec<String> =
        protos.iter().filter(|path| !is_ours(path)).map(|path| shown(path)).collect();
    no_faults(&faults, "the wire has one package, weir.v1");
}

/// A guest is run where its name stands as a word of its own: in quotes, or before `.wasm`.
#[test]
fn every_guest_is_run_by_a_test_or_the_demo() {
    let mut text = read(&root().join("scripts/demo.sh"));
    for path in files(&root().join("tests"), ".rs") {
        text.push_str(&read(&path));
    }
    let mut faults = Vec::new();
    for manifest in files(&root().join("examples-wasm"), "Cargo.toml") {
        let folder = manifest.parent().expect("a folder");
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        if folder == root().join("examples-wasm") {
            continue;
        }
        let run = [format!("\"{name}\""), format!("{name}.wasm")];
        if !run.iter().any(|form| text.contains(form)) {
            faults.push(format!("examples-wasm/{name}"));
        }
    }
    no_faults(&faults, "a guest that nothing runs may be broken: run it in a test");
}

#[test]
fn every_decision_can_be_found() {
    let pages = [read(&root().join("ARCHITECTURE.md")), read(&root().join("README.md"))];
    let decisions = files(&root().join("docs/decisions"), ".md");
    let is_listed = |path: &&PathBuf| pages.iter().any(|page| page.contains(&shown(path)));
    let faults: Vec<String> =
        decisions.iter().filter(|path| !is_listed(path)).map(|path| shown(path)).collect();
    no_faults(&faults, "ARCHITECTURE.md lists every page in docs/decisions");
}

#[test]
fn links_between_our_pages_lead_somewhere() {
    let mut faults = Vec::new();
    for path in files(&root(), ".md") {
        let folder = path.parent().expect("a folder").to_owned();
        for target in links(&read(&path)) {
            if !folder.join(&target).exists() {
                faults.push(format!("{}: {target}", shown(&path)));
            }
        }
    }
    no_faults(&faults, "a link leads to a file that is there");
}

/// The files that a page links to: what is between `](` and `)`, without what is on the network.
fn links(page: &str) -> Vec<String> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let here = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    here.map(String::from).collect()
}

/// The names in ARCHITECTURE.md that look like files of ours are files of ours.
#[test]
fn files_that_architecture_names_are_there() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let folders: BTreeSet<&str> = DIAGRAM.iter().map(|(folder, _)| *folder).collect();
    let mut faults = Vec::new();
    for word in page.split('`').skip(1).step_by(2) {
        let first = word.split('/').next().unwrap_or_default();
        let is_path = folders.contains(first) && word.contains('/') && !word.contains(' ');
        if is_path && !root().join(word).exists() {
            faults.push(word.to_owned());
        }
    }
    no_faults(&faults, "ARCHITECTURE.md names files that are not there");
}

/// README's table of exit codes holds each row of the one in `cli/src/exit.rs`.
#[test]
fn the_exit_codes_in_readme_are_those_of_the_command() {
    let readme = read(&root().join("README.md"));
    let source = read(&root().join("cli/src/exit.rs"));
    let table = source.split("&str); ").nth(1).and_then(|rest| rest.split("];").next());
    let rows = table.expect("a table").lines().filter(|line| line.trim().starts_with('('));
    let rows: Vec<&str> = rows.collect();
    assert!(!rows.is_empty(), "cli/src/exit.rs has rows");
    let mut faults = Vec::new();
    for row in rows {
        let code = row.trim().trim_start_matches('(').split(',').next().expect("a code");
        let word = row.split('"').nth(1).expect("a word");
        if !readme.contains(&format!("| {code} | `{word}` |")) {
            faults.push(format!("{code} {word}"));
        }
    }
    no_faults(&faults, "README.md lacks exit codes, or tells others");
}
