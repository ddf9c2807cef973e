//! Who the masters are: one is added, removed, or lets another lead; all are upgraded.

use tonic::{Code, Status};
use weir_proto::{
    id::NodeId,
    wire::{self, peers_client::PeersClient},
};

use crate::{
    client::{Calls, Client},
    rpc::{self, RpcError},
};

/// Why the masters stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// It cannot be done as things are.
    #[error("{why}")]
    NotNow {
        /// Why not, and what to do.
        why: String,
    },
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

impl Client {
    /// Adds a master that is, or will be, reached at `address`; returns its number. It votes once
    /// it has started and caught up.
    ///
    /// # Errors
    /// `NotNow` when another is reached there, or another change is under way; `Rpc`.
    pub async fn add_member(&self, address: &str) -> Result<NodeId, MemberError> {
        let asked = rpc::retry(|| {
            let (mut peers, address) = (self.peers_rpc(), address.to_owned());
            async move { peers.join(wire::JoinRequest { address, feature_level: None }).await }
        });
        asked.await.map(|answer| NodeId(answer.node)).map_err(|status| self.not_changed(&status))
    }

    /// Removes a master for good.
    ///
    /// # Errors
    /// `NotNow` when it leads, is unknown, or the others would be no majority; `Rpc`.
    pub async fn remove_member(&self, node: NodeId) -> Result<(), MemberError> {
        let asked = rpc::retry(|| {
            let mut peers = self.peers_rpc();
            async move { peers.remove(wire::RemoveMemberRequest { node: node.0 }).await }
        });
        asked.await.map(|_| ()).map_err(|status| self.not_changed(&status))
    }

    /// Asks the leader to let another master lead; that it does is seen in `status`.
    ///
    /// # Errors
    /// `NotNow` when that one is unknown, does not vote or does not answer; `Rpc`.
    pub async fn transfer_leader(&self, node: NodeId) -> Result<(), MemberError> {
        let asked = rpc::retry(|| {
            let mut peers = self.peers_rpc();
            async move { peers.transfer(wire::TransferRequest { node: node.0 }).await }
        });
        asked.await.map(|_| ()).map_err(|status| self.not_changed(&status))
    }

    /// Raises the feature level to the highest that a master's binary knows; returns what it was and
    /// what it is.
    ///
    /// # Errors
    /// `NotNow` when another master's binary knows less, or one does not answer; `Rpc`.
    pub async fn upgrade(&self) -> Result<(u32, u32), MemberError> {
        let asked = rpc::retry(|| {
            let mut cluster = self.cluster_rpc();
            async move { cluster.upgrade(wire::UpgradeRequest {}).await }
        });
        let answer = asked.await.map_err(|status| self.not_changed(&status))?;
        Ok((answer.from_level, answer.level))
    }

    fn peers_rpc(&self) -> PeersClient<Calls> {
        PeersClient::new(self.calls())
    }

    fn not_changed(&self, status: &Status) -> MemberError {
        match status.code() {
            Code::FailedPrecondition => MemberError::NotNow { why: status.message().to_owned() },
            _ => MemberError::Rpc(self.failed(status)),
        }
    }
}
