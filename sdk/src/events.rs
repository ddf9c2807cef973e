//! What happens to a cluster, as a stream.

use tonic::Streaming;
use weir_proto::{
    event::{ClusterEvent, Position},
    wire,
};

use crate::{
    Client,
    rpc::{self, RpcError},
};

/// A running stream of events. It does not come back by itself when the connection breaks: ask
/// again after `position`.
#[derive(Debug)]
pub struct Events {
    client: Client,
    stream: Streaming<wire::ClusterEvent>,
    position: Option<Position>,
}

impl Client {
    /// Events after a position, or from the oldest that is kept; with `follow` also what comes.
    ///
    /// # Errors
    /// When the master does not answer.
    pub async fn events(&self, after: Option<Position>, follow: bool) -> Result<Events, RpcError> {
        let asked = wire::EventsRequest { after: after.map(wire::Position::from), follow };
        let stream = rpc::retry(|| {
            let mut cluster = self.cluster_rpc();
            async move { cluster.events(asked).await }
        });
        let stream = stream.await.map_err(|status| self.failed(&status))?;
        Ok(Events { client: self.clone(), stream, position: after })
    }
}

impl Events {
    /// The next event; none after the last, where the stream does not follow.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<ClusterEvent>, RpcError> {
        let message = self.stream.message().await;
        let Some(event) = message.map_err(|status| self.client.failed(&status))? else {
            return Ok(None);
        };
        let event = ClusterEvent::try_from(event);
        let event = event.map_err(|m| RpcError::answer(self.client.address(), m))?;
        self.position = Some(event.position);
        Ok(Some(event))
    }

    /// Where the last event told stands.
    pub fn position(&self) -> Option<Position> {
        self.position
    }
}
