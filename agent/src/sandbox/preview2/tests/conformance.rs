//! What each function of the file system and its streams answers, case by case: the tables are in
//! `conformance/cases`, and `script` says how to read them. A component calls the functions.

mod answer;
mod functions;
mod fuzz;
pub(super) mod guest;
mod model;
mod script;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
};

use self::{
    functions::FUNCTIONS,
    script::{Case, cases},
};
use crate::{modules::ReadyModule, sandbox::tests::running::ready};

/// The component that runs scripts.
static GUEST: LazyLock<ReadyModule> = LazyLock::new(|| ready(&guest::text()));

/// Where tables, and cases that were found at random, are.
const DIR: &str = "src/sandbox/preview2/tests/conformance";

const TABLES: [&str; 5] = ["files", "paths", "changes", "streams", "handles"];

/// Functions that cannot be refused anything.
const NEVER_WRONG: [&str; 13] = [
    "get-directories",
    "get-flags",
    "get-type",
    "stat",
    "is-same-object",
    "metadata-hash",
    "sync",
    "sync-data",
    "to-debug-string",
    "get-stdin",
    "get-stdout",
    "get-stderr",
    "read-directory-entry",
];

/// The errors that this file system has, each of which some case must show.
const CODES: [&str; 15] = [
    "bad-descriptor",
    "busy",
    "exist",
    "file-too-large",
    "invalid",
    "is-directory",
    "loop",
    "name-too-long",
    "no-entry",
    "not-directory",
    "not-empty",
    "not-permitted",
    "overflow",
    "read-only",
    "cross-device",
];

fn all_cases() -> impl Iterator<Item = Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(DIR).join("cases");
    TABLES.into_iter().flat_map(move |file| {
        let text = fs::read_to_string(dir.join(format!("{file}.txt"))).expect("a table");
        cases(file, &text)
    })
}

#[tokio::test]
async fn every_function_answers_as_the_tables_say() {
    let mut faults = Vec::new();
    for case in all_cases() {
        faults.extend(case.run().await.err());
    }
    assert!(faults.is_empty(), "{} of the cases:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_function_has_a_case_where_it_succeeds_and_one_where_it_does_not() {
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for line in all_cases().flat_map(|case| case.lines) {
        let first = line.answer.first().expect("a table says what is to come");
        let succeeds = ["ok", "some", "true"].contains(&&**first) || first.starts_with('"');
        seen.entry(line.function).or_default().insert(succeeds);
    }
    for function in FUNCTIONS {
        let seen = seen.get(function.word).cloned().unwrap_or_default();
        assert!(seen.contains(&true), "{} has no case where it succeeds", function.word);
        let wrong = seen.contains(&false) || NEVER_WRONG.contains(&function.word);
        assert!(wrong, "{} has no case where it does not succeed", function.word);
    }
}

#[test]
fn every_error_code_of_the_file_system_is_shown() {
    let lines = all_cases().flat_map(|case| case.lines);
    let shown: BTreeSet<String> = lines.filter_map(|line| line.answer.first().cloned()).collect();
    for code in CODES {
        assert!(shown.contains(code), "no case shows {code}");
    }
}
