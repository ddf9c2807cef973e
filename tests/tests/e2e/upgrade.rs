//! The feature level of a cluster: raised when all masters know it, and minded by binaries that do not.

use std::{net::TcpListener, path::Path};

use tempfile::TempDir;
use weir_master::{log::RedbLog, node};
use weir_proto::{
    feature::FEATURE_LEVEL,
    id::{ClusterId, NodeId},
};
use weir_scheduler::members::{Identity, genesis};
use weir_tests::cluster::{PATIENCE, Server, Weir, poll};

/// A master's directory as it was left by a cluster of this feature level.
fn left_at(level: u32) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let node = NodeId(1);
    let mut state = genesis([(node, String::new())]);
    state.feature_level = level;
    let log = RedbLog::open(&dir.path().join("raft")).expect("a log");
    let begins = node::begin_from(&state, 1);
    log.identify(Identity { cluster: ClusterId(7), node }, &begins).expect("written");
    dir
}

fn level(master: &Server) -> u64 {
    let status = master.weir(["status", "--json"]).run().exited_with(0).json();
    status["feature_level"].as_u64().expect("a level")
}

fn doctor(dir: &Path) -> Weir {
    Weir::new(["doctor"]).arg(dir)
}

#[test]
fn a_cluster_of_before_is_raised_when_somebody_says_so_and_stays_so() {
    let dir = left_at(0);
    let master = Server::master(dir.path(), "127.0.0.1:0");
    assert_eq!(level(&master), 0);
    let upgraded = master.weir(["cluster", "upgrade", "--json"]).run().exited_with(0).json();
    let now = u64::from(FEATURE_LEVEL);
    assert_eq!((&upgraded["from_level"], &upgraded["level"]), (&0.into(), &now.into()));
    let again = master.weir(["cluster", "upgrade"]).run().exited_with(0);
    assert_eq!(again.stdout_text(), format!("the cluster is at feature level {now} already\n"));
    master.stop().exited_with(0);
    let found = doctor(dir.path()).run().exited_with(0).stdout_text();
    assert!(found.contains(&format!("level {now}; this binary knows up to {now}")), "{found}");
    assert_eq!(level(&Server::master(dir.path(), "127.0.0.1:0")), now);
}

#[test]
fn a_binary_that_knows_less_than_the_cluster_does_not_start() {
    let dir = left_at(FEATURE_LEVEL + 1);
    let told = format!(
        "the cluster is at feature level {}; this binary knows up to {FEATURE_LEVEL}",
        FEATURE_LEVEL + 1
    );
    let start = Weir::new(["master", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path());
    start.run().exited_with(125).says(&[&told]);
    let found = doctor(dir.path()).run().exited_with(125).stdout_text();
    assert!(found.contains(&told) && found.contains("use the binary that wrote it"), "{found}");
}

#[test]
fn a_master_that_does_not_answer_is_named_and_nothing_is_raised() {
    let listeners: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let address = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
    let addresses: Vec<String> = listeners.iter().map(address).collect();
    drop(listeners);
    let numbered = (1..).zip(&addresses).map(|(node, address)| format!("{node}={address}"));
    let list = numbered.collect::<Vec<String>>().join(",");
    let data = tempfile::tempdir().expect("a directory");
    let start = |(node, address): (usize, &String)| {
        let node = (node + 1).to_string();
        let flags = ["--node-id", &node, "--members", &list];
        Server::one_of(&data.path().join(&node), address, &flags)
    };
    let mut masters: Vec<Server> = addresses.iter().enumerate().map(start).collect();
    masters.pop().expect("the third").kill();
    let mut refused = None;
    let told = poll(PATIENCE, || {
        let ran = masters[0].weir(["cluster", "upgrade"]).run();
        let is_told = ran.stderr_text().contains("nobody knows what node-3 at");
        refused = Some(ran);
        is_told
    });
    assert!(told, "{}", refused.expect("it was asked"));
    refused.expect("it was asked").exited_with(125).says(&[&addresses[2], "remove it for good"]);
}
