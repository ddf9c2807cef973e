//! `Agents`: the stream between an agent and the master's loop.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use weir_proto::{agent::AgentMessage, wire};

use crate::{
    control::{Event, SessionId},
    driver::{Handle, Input, Stopping, agent_queue},
};

/// The service.
#[derive(Clone)]
pub(crate) struct AgentsService {
    master: Handle,
    last_session: Arc<AtomicU64>,
}

impl AgentsService {
    pub(crate) fn new(master: Handle) -> AgentsService {
        AgentsService { master, last_session: Arc::default() }
    }
}

#[tonic::async_trait]
impl wire::agents_server::Agents for AgentsService {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<wire::MasterMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let session = SessionId(self.last_session.fetch_add(1, Ordering::Relaxed) + 1);
        let (sender, receiver) = agent_queue();
        let opened = Input::AgentOpened(session, sender);
        self.master.send(opened).await.map_err(super::stopping)?;
        // Ends with its connection; the master's loop drops the other half to end both.
        tokio::spawn(read(self.master.clone(), session, request.into_inner()));
        let messages = ReceiverStream::new(receiver);
        Ok(Response::new(Box::pin(messages.map(|message| Ok(message.into())))))
    }
}

async fn read(master: Handle, session: SessionId, mut messages: Streaming<wire::AgentMessage>) {
    // The loop may be gone; then there is nobody to tell.
    let _stopping: Result<(), Stopping> = async {
        while let Ok(Some(message)) = messages.message().await {
            match AgentMessage::try_from(message) {
                Ok(message) => {
                    if let AgentMessage::Returned { lease, range, reason: Some(reason) } = &message
                    {
                        tracing::warn!(%lease, %range, reason, "an agent gives tasks back");
                    }
                    master.send(Input::Event(Event::FromAgent(session, message))).await?;
                }
                Err(error) => {
                    tracing::warn!(session = session.0, %error, "an agent sent what is no message");
                    break;
                }
            }
        }
        master.send(Input::Event(Event::AgentClosed(session))).await
    }
    .await;
}
