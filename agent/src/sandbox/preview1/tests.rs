//! What each function answers, case by case: the tables are in `tests/cases`, one file for each kind
//! of function, and `script` says how to read them.

mod fuzz;
mod interpreter;
mod script;

use std::collections::{BTreeMap, BTreeSet};

use self::script::{Case, Ending};
use super::NAMES;

const TABLES: [(&str, &str); 6] = [
    ("process", include_str!("tests/cases/process.txt")),
    ("files", include_str!("tests/cases/files.txt")),
    ("descriptors", include_str!("tests/cases/descriptors.txt")),
    ("paths", include_str!("tests/cases/paths.txt")),
    ("changes", include_str!("tests/cases/changes.txt")),
    ("pointers", include_str!("tests/cases/pointers.txt")),
];

/// Functions that never succeed, and functions that cannot be called wrongly.
const NEVER_RIGHT: [&str; 5] =
    ["proc_raise", "sock_accept", "sock_recv", "sock_send", "sock_shutdown"];
const NEVER_WRONG: [&str; 2] = ["proc_exit", "sched_yield"];

fn cases() -> impl Iterator<Item = Case> {
    TABLES.into_iter().flat_map(|(file, text)| script::cases(file, text))
}

#[tokio::test]
async fn every_function_answers_as_the_tables_say() {
    let faults: Vec<String> = {
        let mut faults = Vec::new();
        for case in cases() {
            faults.extend(case.run().await.err());
        }
        faults
    };
    assert!(faults.is_empty(), "{} of the cases:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_function_has_a_case_where_it_succeeds_and_one_where_it_does_not() {
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for line in cases().flat_map(|case| case.lines) {
        let succeeds = match line.ending {
            Ending::Errno(errno) => errno == 0,
            Ending::Any => panic!("a table says what is to come"),
            Ending::Outcome(outcome) => outcome.starts_with("exit"),
        };
        seen.entry(line.function).or_default().insert(succeeds);
    }
    for name in NAMES {
        let seen = seen.get(*name).cloned().unwrap_or_default();
        let right = seen.contains(&true) || NEVER_RIGHT.contains(name);
        assert!(right, "{name} has no case where it succeeds");
        let wrong = seen.contains(&false) || NEVER_WRONG.contains(name);
        assert!(wrong, "{name} has no case where it does not succeed");
    }
}
