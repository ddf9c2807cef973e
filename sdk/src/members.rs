//! Who the masters are: one is added, removed, or lets another lead.

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
            async move { peers.join(wire::JoinRequest { address }).await }
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
