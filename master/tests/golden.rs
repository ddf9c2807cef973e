//! The master's log as an earlier binary left it: a master of today goes on from it, and what is
//! written today has the same rows.

#[path = "../../proto/tests/golden/files.rs"]
mod files;

use std::{fs, path::Path};

use raft::eraftpb::{Entry, HardState};
use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _,
};
use tempfile::TempDir;
use weir_master::{
    control::Control,
    log::{Log as _, LogEntry, LogError, LogWrite, RedbLog},
    node,
};
use weir_proto::{
    command::{Change, Command},
    id::{ClusterId, NodeId},
};
use weir_scheduler::{
    apply::apply,
    members::{Identity, genesis},
};

const GOLDEN: &str = "tests/golden/log-2.hex";

const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

const IDENTITY: Identity = Identity { cluster: ClusterId(0xc3), node: NodeId(1) };

/// What the log begins with, and what came after it.
fn writes() -> [LogWrite; 2] {
    let mut state = genesis([(NodeId(1), "10.0.0.1:7400".to_owned())]);
    // As it was before there were levels.
    state.feature_level = 0;
    let begins = node::begin_from(&state, 1);
    let change = Change::CreateCluster(IDENTITY.cluster);
    let data = Command { now_ms: 1_700_000_000_000, change }.encode().into();
    let entry = Entry { index: 2, term: 2, data, ..Entry::default() };
    let hard_state = HardState { term: 2, vote: 1, commit: 2, ..HardState::default() };
    let encode = |message: &dyn protobuf::Message| message.write_to_bytes().expect("bytes");
    let later = LogWrite {
        entries: vec![LogEntry { index: 2, bytes: encode(&entry) }],
        hard_state: Some(encode(&hard_state)),
        ..LogWrite::default()
    };
    [begins, later]
}

fn written_today() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = RedbLog::open(dir.path()).expect("a log");
    let [begins, later] = writes();
    log.identify(IDENTITY, &begins).expect("written");
    log.write(&later).expect("written");
    dir
}

/// The golden log in a directory.
fn golden() -> TempDir {
    if files::is_update() {
        let bytes = fs::read(written_today().path().join("log.redb")).expect("a log");
        files::write(GOLDEN, &[("log.redb", bytes)]);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let [(name, bytes)] = &files::read(GOLDEN)[..] else { panic!("one file in {GOLDEN}") };
    fs::write(dir.path().join(name), bytes).expect("written");
    dir
}

/// All rows of all tables, in words.
fn rows(dir: &Path) -> Vec<String> {
    let log = Database::open(dir.join("log.redb")).expect("a log");
    let reading = log.begin_read().expect("a transaction");
    let mut rows: Vec<String> =
        reading.list_tables().expect("tables").map(|table| table.name().to_owned()).collect();
    for row in reading.open_table(ENTRIES).expect("entries").iter().expect("rows") {
        let (index, bytes) = row.expect("a row");
        rows.push(format!("entry {}: {:?}", index.value(), bytes.value()));
    }
    for row in reading.open_table(META).expect("meta").iter().expect("rows") {
        let (name, bytes) = row.expect("a row");
        rows.push(format!("{}: {:?}", name.value(), bytes.value()));
    }
    for row in reading.open_table(NUMBERS).expect("numbers").iter().expect("rows") {
        let (name, number) = row.expect("a row");
        rows.push(format!("{}: {}", name.value(), number.value()));
    }
    rows
}

#[test]
fn a_master_goes_on_from_the_log_of_an_earlier_binary() {
    let dir = golden();
    let mut log = RedbLog::open(dir.path()).expect("a log of an earlier binary");
    assert_eq!(log.identity().expect("readable"), Some(IDENTITY));
    let recovered = log.recover().expect("readable");
    let [begins, later] = writes();
    assert_eq!(recovered.snapshot, begins.snapshot);
    assert_eq!((&recovered.entries, &recovered.hard_state), (&later.entries, &later.hard_state));
    let master = Control::new(IDENTITY, &recovered, 7, apply).expect("a master");
    assert_eq!(master.node(), IDENTITY.node);
    assert_eq!(master.state().members.len(), 1);
}

#[test]
fn a_log_of_today_has_the_rows_of_the_golden_one() {
    assert_eq!(rows(written_today().path()), rows(golden().path()));
}

#[test]
fn a_log_of_another_format_is_refused_and_says_which() {
    for format in [1, 3] {
        let dir = golden();
        let log = Database::open(dir.path().join("log.redb")).expect("a log");
        let transaction = log.begin_write().expect("a transaction");
        let mut numbers = transaction.open_table(NUMBERS).expect("numbers");
        numbers.insert("format", format).expect("written");
        drop(numbers);
        transaction.commit().expect("committed");
        drop(log);
        let Err(refused) = RedbLog::open(dir.path()) else { panic!("format {format} is opened") };
        assert!(matches!(refused, LogError::Format { known: 2, .. }), "{refused}");
        let told = format!("has format {format}; this binary knows format 2");
        assert!(refused.to_string().ends_with(&told), "{refused}");
    }
}
