//! What operators get wrong with masters: each is told clearly, by whoever can tell, and harms nobody.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::cluster::{PATIENCE, Process, Ran, Weir, poll};

use super::{Masters, free_addresses, leader_is_known, members_vote};

/// What a master that cannot be one exits with.
const FAILED: i32 = 125;

fn three() -> Masters {
    let masters = Masters::three();
    masters.wait_until("all three answer", members_vote);
    masters
}

fn master(data: &Path, listen: &str) -> Weir {
    Weir::new(["master", "--listen", listen, "--data-dir"]).arg(data)
}

/// A copy of what a master keeps.
fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().expect("a directory");
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            fs::create_dir(&to).expect("a new directory");
            copy_into(&path, &to);
        } else {
            fs::copy(&path, &to).expect("copied");
        }
    }
}

/// The end of a master that others do not take for one; they stay as they were.
fn is_dismissed(masters: &Masters, weir: Weir) -> Ran {
    let ran = weir.run().exited_with(FAILED);
    masters.wait_until("the others go on", leader_is_known);
    ran
}

#[test]
fn two_processes_of_one_copied_directory_are_not_both_that_master() {
    let mut masters = three();
    let second = masters.addresses[1].clone();
    let data = masters.kill(&second);
    let copied = copy(data.path());
    masters.start_again(&second, data);
    masters.wait_until("all three answer", members_vote);
    let address = free_addresses(1).remove(0);
    let twin = master(copied.path(), &address).start();
    twin.wait_for_stderr("another process is node-2 already");
    let members = masters.wait_until("all three answer", members_vote);
    assert_eq!(members[1]["address"], *second, "the one that was there stays");
}

#[test]
fn a_master_that_was_removed_while_it_was_down_is_told_and_ends() {
    let mut masters = three();
    let third = masters.addresses[2].clone();
    let data = masters.kill(&third);
    masters.wait_until("somebody leads", leader_is_known);
    masters.weir(&["cluster", "remove-member", "node-3"]).run().exited_with(0);
    is_dismissed(&masters, master(data.path(), &third))
        .says(&["node-3 was removed from cluster-", "--join and an empty data directory"]);
}

#[test]
fn a_master_that_lost_its_disk_is_not_taken_for_the_one_that_it_was() {
    let mut masters = three();
    let third = masters.addresses[2].clone();
    // The leader has to have heard of it.
    let known = || masters.weir(&["status"]).run().code() == Some(0);
    assert!(poll(PATIENCE, known));
    drop(masters.kill(&third));
    masters.wait_until("somebody leads", leader_is_known);
    let empty = tempfile::tempdir().expect("a directory");
    let numbered = (1..).zip(&masters.addresses).map(|(node, address)| format!("{node}={address}"));
    let list = numbered.collect::<Vec<String>>().join(",");
    let again = master(empty.path(), &third).args(["--node-id", "3", "--members", &list]);
    is_dismissed(&masters, again)
        .says(&["node-3 has other data than it had", "weir cluster remove-member node-3"]);
    // As it says.
    masters.weir(&["cluster", "remove-member", "node-3"]).run().exited_with(0);
    let empty = tempfile::tempdir().expect("a directory");
    let first = format!("http://{}", masters.addresses[0]);
    let _joined = master(empty.path(), &third).args(["--join", &first]).start();
    masters.wait_until("node-4 votes", members_vote);
}

#[test]
fn a_master_that_moved_is_found_where_it_is_now() {
    let mut masters = three();
    let members = masters.members();
    let follower = members.iter().find(|member| member["leads"] == false).expect("a follower");
    let (node, old) = (follower["node"].clone(), follower["address"].as_str().expect("an address"));
    let old = old.to_owned();
    let data = masters.kill(&old);
    let new = free_addresses(1).remove(0);
    masters.addresses.retain(|address| *address != old);
    masters.addresses.push(new.clone());
    masters.start_again(&new, data);
    masters.wait_until("it is found where it is", |members| {
        let moved = |member: &Value| member["node"] == node && member["address"] == *new;
        members_vote(members) && members.iter().any(moved)
    });
}

#[test]
fn a_master_of_another_cluster_is_told_so() {
    let masters = three();
    let lonely = tempfile::tempdir().expect("a directory");
    let address = free_addresses(1).remove(0);
    let list = format!("1={},2={address}", masters.addresses[0]);
    let flags = ["--node-id", "2", "--members", &list];
    let stranger = master(lonely.path(), &address).args(flags).start();
    stranger.wait_for_stderr("this is a master of cluster-");
    masters.wait_until("the others go on", members_vote);
}

#[test]
fn without_a_majority_reads_and_writes_say_so() {
    let mut masters = three();
    masters.weir(&["name", "set", "model", "Cargo.toml"]).run().exited_with(0);
    let knows = || {
        let names = Weir::new(["name", "ls", "--stale"]).env("WEIR_MASTER", &masters.addresses[0]);
        names.run().exited_with(0).stdout_text().contains("model")
    };
    assert!(poll(PATIENCE, knows), "it does not come to the first");
    for address in masters.addresses.clone().split_off(1) {
        masters.kill(&address);
    }
    let left = masters.addresses[0].clone();
    let start = |args: &[&str]| Weir::new(args).env("WEIR_MASTER", &left).start();
    let at = |args: &[&str]| start(args).wait();
    let (read, write) = (start(&["job", "ls"]), start(&["name", "rm", "model"]));
    for refused in [read.wait(), write.wait()] {
        let said = refused.stderr_text();
        assert_ne!(refused.code(), Some(0), "{refused}");
        assert!(said.contains("majority") || said.contains("no master leads"), "{refused}");
    }
    // What it can tell by itself, it does.
    let members = at(&["cluster", "members"]).exited_with(0);
    assert!(members.stdout_text().contains("away"), "{members}");
    let names = at(&["name", "ls", "--stale"]).exited_with(0);
    assert!(names.stdout_text().contains("model"), "{names}");
}

/// A master of one that has run and stopped.
fn stopped() -> (TempDir, String) {
    let data = tempfile::tempdir().expect("a directory");
    let address = free_addresses(1).remove(0);
    let server: Process = master(data.path(), &address).start();
    server.wait_for_stdout(" listens on http://");
    server.terminate();
    server.wait().exited_with(0);
    (data, address)
}

#[test]
fn a_master_whose_log_is_damaged_does_not_start_and_points_to_the_doctor() {
    let (data, address) = stopped();
    let log = data.path().join("raft/log.redb");
    let whole = fs::read(&log).expect("the log");
    fs::write(&log, &whole[..whole.len() / 2]).expect("written");
    master(data.path(), &address)
        .run()
        .exited_with(FAILED)
        .says(&["log.redb is damaged", "doctor"]);
    Weir::new(["doctor"]).arg(data.path()).run().exited_with(FAILED).says(&["1 problem found"]);
    fs::write(&log, "").expect("written");
    master(data.path(), &address).run().exited_with(FAILED).says(&["blobs and no log"]);
    fs::remove_file(&log).expect("removed");
    master(data.path(), &address).run().exited_with(FAILED).says(&["blobs and no log"]);
    fs::write(&log, &whole).expect("written");
    let server = master(data.path(), &address).start();
    server.wait_for_stdout(" listens on http://");
}

#[test]
fn a_master_that_cannot_join_says_why() {
    let data = tempfile::tempdir().expect("a directory");
    let nobody = free_addresses(1).remove(0);
    let join = ["--join", &nobody];
    let ran = master(data.path(), "127.0.0.1:0").args(join).run().exited_with(FAILED);
    ran.says(&[nobody.as_str(), "Connection refused"]);
}
