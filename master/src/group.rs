//! Which masters a master is one of: what it is told at its first start, and keeps for ever.

use std::{collections::BTreeMap, error::Error, path::Path, time::Duration};

use tonic::Status;
use weir_proto::{
    feature::FEATURE_LEVEL,
    id::{ClusterId, NodeId},
    wire::{self, peers_client::PeersClient},
};
use weir_scheduler::members::{Identity, MAX_ADDRESS_BYTES, MAX_MEMBERS};

use crate::{
    StartError,
    log::{LogWrite, RedbLog},
    node, peers, random_bytes,
};

/// How long a master that is asked to take another in may take: it may have to wait for a leader.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);

/// The masters that one is to be of. Data that is there already says it, and is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// It alone, or those that its data names.
    Own,
    /// These, all new, and each told the same.
    New {
        /// Which of them it is.
        node: NodeId,
        /// Where they are reached, `host:port`.
        members: BTreeMap<NodeId, String>,
    },
    /// Those of a cluster that runs.
    Join {
        /// Where one of its masters is reached, `host:port`.
        master: String,
    },
}

/// Why a master is not one of those.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// Its data is another master's.
    #[error("the data is of {found}; {wanted} needs a data directory of its own")]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who should start.
        wanted: NodeId,
    },
    /// The list cannot be.
    #[error("{0}")]
    List(String),
    /// Nobody took it in.
    #[error("{master} does not take this master in: {why}")]
    NotTaken {
        /// Who was asked.
        master: String,
        /// What it said.
        why: String,
    },
}

/// Which master of which cluster this is; new data becomes that one's.
///
/// # Errors
/// `Group` when it cannot be, `Log` when the log cannot be read or written.
pub(crate) async fn identify(
    log: &RedbLog,
    path: &Path,
    group: &Group,
    address: &str,
) -> Result<Identity, StartError> {
    let log_error = |source| StartError::Log { path: path.to_owned(), source };
    if let Some(identity) = log.identity().map_err(log_error)? {
        if let Group::New { node, .. } = group
            && *node != identity.node
        {
            let (found, wanted) = (identity.node, *node);
            return Err(GroupError::OtherNode { found, wanted }.into());
        }
        return Ok(identity);
    }
    let (identity, begins) = match group {
        Group::Own => {
            let cluster = ClusterId(u64::from_le_bytes(random_bytes()?) | 1);
            let node = NodeId(1);
            (Identity { cluster, node }, node::begin([(node, address.to_owned())]))
        }
        Group::New { node, members } => {
            check(*node, members, address)?;
            let identity = Identity { cluster: cluster_of(members), node: *node };
            (identity, node::begin(members.clone()))
        }
        Group::Join { master } => (join(master, address).await?, LogWrite::default()),
    };
    log.identify(identity, &begins).map_err(log_error)?;
    Ok(identity)
}

fn check(
    node: NodeId,
    members: &BTreeMap<NodeId, String>,
    address: &str,
) -> Result<(), GroupError> {
    let Some(listed) = members.get(&node) else {
        return Err(GroupError::List(format!("{node} is not in the list of masters")));
    };
    if listed != address {
        return Err(GroupError::List(format!(
            "the list says that {node} is reached at {listed}, and it is at {address}"
        )));
    }
    if members.len() > MAX_MEMBERS || members.keys().any(|node| node.0 == 0) {
        return Err(GroupError::List(format!(
            "a list has at most {MAX_MEMBERS} masters, with numbers from 1 on"
        )));
    }
    let is_long = |address: &&String| address.len() > MAX_ADDRESS_BYTES;
    if let Some(address) = members.values().find(is_long) {
        return Err(GroupError::List(format!(
            "{address} is longer than {MAX_ADDRESS_BYTES} bytes"
        )));
    }
    Ok(())
}

/// New masters do not talk before they know their cluster's name: it follows from their list. So does
/// what they begin with, and that depends on their binaries: those of two levels are no cluster.
fn cluster_of(members: &BTreeMap<NodeId, String>) -> ClusterId {
    let mut hasher = blake3::Hasher::new();
    for (node, address) in members {
        hasher.update(&node.0.to_le_bytes()).update(address.as_bytes()).update(&[0]);
    }
    hasher.update(&FEATURE_LEVEL.to_le_bytes());
    let mut name = [0; 8];
    name.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    ClusterId(u64::from_le_bytes(name) | 1)
}

async fn join(master: &str, address: &str) -> Result<Identity, GroupError> {
    let asked = async {
        // A master that hands this on to the leader must not take it for another master's word.
        let channel = peers::plain_endpoint(master)?.connect().await;
        let channel = channel.map_err(|error| Status::unavailable(innermost(&error)))?;
        let request =
            wire::JoinRequest { address: address.to_owned(), feature_level: Some(FEATURE_LEVEL) };
        PeersClient::new(channel).join(request).await
    };
    let not_taken = |why| GroupError::NotTaken { master: master.to_owned(), why };
    match tokio::time::timeout(JOIN_TIMEOUT, asked).await {
        Ok(Ok(answer)) => {
            let wire::JoinResponse { cluster, node } = answer.into_inner();
            Ok(Identity { cluster: ClusterId(cluster), node: NodeId(node) })
        }
        Ok(Err(status)) => Err(not_taken(status.message().to_owned())),
        Err(_) => Err(not_taken(format!("no answer in {} s", JOIN_TIMEOUT.as_secs()))),
    }
}

/// What really happened: tonic itself says "transport error".
fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(addresses: &[&str]) -> BTreeMap<NodeId, String> {
        let numbers = (1..).map(NodeId);
        numbers.zip(addresses.iter().map(|address| (*address).to_owned())).collect()
    }

    #[test]
    fn masters_of_one_list_are_of_one_cluster_and_of_another_list_of_another() {
        let cluster = cluster_of(&list(&["a:1", "b:1", "c:1"]));
        assert_eq!(cluster, cluster_of(&list(&["a:1", "b:1", "c:1"])));
        assert_ne!(cluster, cluster_of(&list(&["a:1", "b:1", "d:1"])));
        assert_ne!(cluster, cluster_of(&list(&["a:1", "b:1"])));
    }

    #[test]
    fn a_list_that_does_not_fit_the_master_is_refused() {
        let members = list(&["a:1", "b:1", "c:1"]);
        assert!(check(NodeId(2), &members, "b:1").is_ok());
        let wrong = check(NodeId(2), &members, "a:1").expect_err("another address");
        assert!(wrong.to_string().contains("node-2 is reached at b:1"), "{wrong}");
        assert!(check(NodeId(4), &members, "b:1").is_err());
    }

    #[tokio::test]
    async fn data_is_one_masters_for_ever() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = RedbLog::open(directory.path()).expect("a log");
        let members = list(&["a:1", "b:1"]);
        let new = |node| Group::New { node, members: members.clone() };
        let identity =
            identify(&log, directory.path(), &new(NodeId(2)), "b:1").await.expect("a new one");
        assert_eq!(identity.node, NodeId(2));
        let again = identify(&log, directory.path(), &Group::Own, "b:2").await;
        assert_eq!(again.expect("the same"), identity);
        let other = identify(&log, directory.path(), &new(NodeId(1)), "a:1").await;
        assert!(matches!(other, Err(StartError::Group(GroupError::OtherNode { .. }))));
    }
}
