//! Directories of real masters, whole and damaged on purpose.

use std::fs;

use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::*;
use crate::{Group, Master, MasterConfig};

const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");

/// The directory of a master that was started once, and stopped.
async fn stopped() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    start(dir.path()).await.stop().await.expect("stopped");
    // The thread that writes the log lets go of it a moment later, the store's as well.
    let in_use = || {
        let found = examine_master(dir.path(), false);
        matches!(found, Err(DoctorError::Unreadable(ExamineError::InUse { .. })))
    };
    for _ in 0..300 {
        if !in_use() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    dir
}

async fn start(dir: &Path) -> Master {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let (data_dir, group) = (dir.to_owned(), Group::Own);
    let config = MasterConfig { data_dir, listen, insecure: false, advertise: None, group };
    Master::start(config).await.expect("a master")
}

fn problems(dir: &TempDir) -> Vec<Problem> {
    examine_master(dir.path(), true).expect("a master's directory").problems
}

#[tokio::test]
async fn what_a_master_left_is_whole_and_told() {
    let dir = stopped().await;
    let found = examine_master(dir.path(), true).expect("a master's directory");
    assert_eq!(found.problems, []);
    let about: Vec<&str> = found.facts.iter().map(|(about, _)| *about).collect();
    for expected in ["log", "entries", "cluster", "a start has", "store", "results"] {
        assert!(about.contains(&expected), "nothing about {expected}: {about:?}");
    }
}

#[tokio::test]
async fn the_directory_of_a_running_master_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let master = start(dir.path()).await;
    let refused = examine_master(dir.path(), false).expect_err("it is in use");
    assert!(refused.to_string().contains("in use"), "{refused}");
    master.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_hole_and_an_entry_that_is_none_are_told_by_their_numbers() {
    for (damage, told) in [
        (None, "after entry 1 comes entry 3"),
        (Some(&b"\xff\xff\xff"[..]), "entry 2 does not decode"),
    ] {
        let dir = stopped().await;
        let database = Database::open(dir.path().join("raft/log.redb")).expect("a log");
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut entries = transaction.open_table(ENTRIES).expect("entries");
            let last = entries.remove(2).expect("removed").expect("an entry").value().to_vec();
            match damage {
                Some(bytes) => drop(entries.insert(2, bytes).expect("written")),
                None => drop(entries.insert(3, &last[..]).expect("written")),
            }
        }
        transaction.commit().expect("committed");
        drop(database);
        let found = problems(&dir);
        assert!(found[0].what.contains(told), "{found:?}");
        assert_eq!(found[0].next, RESTORE);
    }
}

#[tokio::test]
async fn a_log_that_is_cut_off_or_overwritten_is_a_problem_and_stays_as_it_is() {
    let dir = stopped().await;
    let path = dir.path().join("raft/log.redb");
    let whole = fs::read(&path).expect("read");
    for damaged in [whole[..whole.len() / 2].to_vec(), vec![7; 10_000], Vec::new()] {
        fs::write(&path, &damaged).expect("written");
        let found = problems(&dir);
        assert!(found[0].what.contains("log.redb"), "{found:?}");
        assert_eq!(fs::read(&path).expect("read"), damaged);
    }
}

#[tokio::test]
async fn what_is_no_masters_directory_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let refused = examine_master(dir.path(), false).expect_err("nothing is there");
    assert!(matches!(refused, DoctorError::NotAMaster { .. }));
}
