//! Namespaces: what they have open, and their shares of the cluster.

use tonic::Code;
use weir_proto::{
    id::Namespace,
    weight::{NamespaceView, Weight, weight_to_wire},
    wire,
};

use crate::{
    Client,
    rpc::{self, RpcError},
};

/// Why a weight was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// There are too many weights.
    #[error("{why}")]
    NotNow {
        /// How many there may be, and what to do.
        why: String,
    },
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

impl Client {
    /// The namespaces that have open jobs, or a weight that is not 1, ascending.
    ///
    /// # Errors
    /// When the master does not answer.
    pub async fn namespaces(&self) -> Result<Vec<NamespaceView>, RpcError> {
        let asked = rpc::retry(|| {
            let mut cluster = self.cluster_rpc();
            async move { cluster.namespaces(wire::NamespacesRequest {}).await }
        });
        let answer = asked.await.map_err(|status| self.failed(&status))?;
        let views = answer.namespaces.into_iter().map(NamespaceView::try_from);
        views.collect::<Result<_, _>>().map_err(|m| RpcError::answer(self.address(), m))
    }

    /// Gives a namespace another share of the cluster, for leases from now on.
    ///
    /// # Errors
    /// `NotNow` when as many namespaces as can have one have a weight of their own, or `Rpc`.
    pub async fn set_weight(
        &self,
        namespace: &Namespace,
        weight: Weight,
    ) -> Result<(), WeightError> {
        let asked = rpc::retry(|| {
            let (mut cluster, asked) = (self.cluster_rpc(), weight_to_wire(namespace, weight));
            async move { cluster.set_weight(asked).await }
        });
        asked.await.map(|_| ()).map_err(|status| match status.code() {
            Code::ResourceExhausted => WeightError::NotNow { why: status.message().to_owned() },
            _ => WeightError::Rpc(self.failed(&status)),
        })
    }
}
