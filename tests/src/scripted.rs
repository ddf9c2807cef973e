//! A session between an agent and a leader, of which a test plays one end: what it says is up to the
//! test, and so may be what no honest peer would say.

mod store;

use std::net::SocketAddr;

use tokio::{
    runtime::Runtime,
    sync::mpsc::{self, Receiver, Sender},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    codegen::BoxStream,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use weir_proto::{
    agent::{AgentDescription, AgentMessage, MasterMessage},
    id::{AgentId, ClusterId, Incarnation},
    limits::Resources,
    wire::{
        self,
        agents_client::AgentsClient,
        agents_server::{Agents, AgentsServer},
        store_server::StoreServer,
    },
};

use self::store::WrongStore;
use crate::cluster::PATIENCE;

/// Messages on their way to the other end.
const QUEUE: usize = 64;

/// A leader whose words are a test's.
pub struct ScriptedMaster {
    address: SocketAddr,
    sessions: Receiver<(Sender<Said>, Streaming<wire::AgentMessage>)>,
    runtime: Runtime,
}

type Said = Result<wire::MasterMessage, Status>;

/// The leader's end of a session.
pub struct Leader<'a> {
    runtime: &'a Runtime,
    agent: Sender<Said>,
    messages: Streaming<wire::AgentMessage>,
}

impl ScriptedMaster {
    /// One on a free port of this machine, that waits for agents.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start() -> ScriptedMaster {
        let runtime = Runtime::new().expect("a runtime");
        let (opened, sessions) = mpsc::channel(QUEUE);
        let incoming = runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            TcpIncoming::bind(any).expect("a port")
        });
        let address = incoming.local_addr().expect("an address");
        let server = Server::builder()
            .add_service(AgentsServer::new(Service { opened }))
            .add_service(StoreServer::new(WrongStore));
        // Ends with the runtime.
        runtime.spawn(server.serve_with_incoming(incoming));
        ScriptedMaster { address, sessions, runtime }
    }

    /// Where an agent finds it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What agents that are to look for it may run on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The next session of an agent, whose hello is still to be read.
    ///
    /// # Panics
    /// When no agent comes.
    pub fn session(&mut self) -> Leader<'_> {
        let sessions = &mut self.sessions;
        let next = self.runtime.block_on(async { timeout(PATIENCE, sessions.recv()).await });
        let (agent, messages) = next.expect("no agent comes").expect("the server runs");
        Leader { runtime: &self.runtime, agent, messages }
    }
}

impl Leader<'_> {
    /// Says something.
    ///
    /// # Panics
    /// When the agent has closed the session.
    pub fn say(&self, message: impl Into<wire::MasterMessage>) {
        let said = self.agent.blocking_send(Ok(message.into()));
        said.expect("the agent has closed the session");
    }

    /// Welcomes the agent as the leader of a term, who wants to hear of it ten times a second.
    pub fn welcome(&self, term: u64) {
        self.say(MasterMessage::Welcome { cluster: ClusterId(1), heartbeat_ms: 100, term });
    }

    /// What the agent says next that a test looks for; `None` when it closes the session.
    ///
    /// # Panics
    /// When it says nothing of the kind for long.
    pub fn hear<T>(&mut self, wanted: impl Fn(AgentMessage) -> Option<T>) -> Option<T> {
        let heard = async {
            while let Ok(Some(message)) = self.messages.message().await {
                let message = AgentMessage::try_from(message).expect("an agent says what it may");
                if let Some(heard) = wanted(message) {
                    return Some(heard);
                }
            }
            None
        };
        let heard = async { timeout(PATIENCE, heard).await };
        self.runtime.block_on(heard).expect("the agent does not say it")
    }
}

struct Service {
    opened: Sender<(Sender<Said>, Streaming<wire::AgentMessage>)>,
}

#[tonic::async_trait]
impl Agents for Service {
    type SessionStream = BoxStream<wire::MasterMessage>;

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (agent, said) = mpsc::channel(QUEUE);
        let opened = self.opened.send((agent, request.into_inner())).await;
        opened.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }
}

/// An agent whose words are a test's, in a session with a real master.
pub struct ScriptedAgent {
    runtime: Runtime,
    master: Sender<wire::AgentMessage>,
    messages: Streaming<wire::MasterMessage>,
}

impl ScriptedAgent {
    /// Opens a session with the master at an address, and says hello.
    ///
    /// # Panics
    /// When there is no master.
    pub fn start(url: &str, agent: AgentDescription) -> ScriptedAgent {
        let runtime = Runtime::new().expect("a runtime");
        let (master, said) = mpsc::channel(QUEUE);
        let hello = AgentMessage::Hello { agent, held: Vec::new(), connection: 1 };
        master.try_send(hello.into()).expect("an empty queue");
        let opened = runtime.block_on(async {
            let endpoint = Endpoint::from_shared(url.to_owned()).expect("an address");
            let channel = endpoint.connect().await.expect("a master");
            let mut master = AgentsClient::new(channel);
            master.session(ReceiverStream::new(said)).await
        });
        ScriptedAgent { runtime, master, messages: opened.expect("a session").into_inner() }
    }

    /// What one could be.
    pub fn description(name: &str) -> AgentDescription {
        AgentDescription {
            id: AgentId(0xa9e27),
            incarnation: Incarnation(1),
            name: name.to_owned(),
            architecture: "none".to_owned(),
            profile: "weir-1".to_owned(),
            epoch_profile: None,
            resources: Resources::new(1_000, 1 << 30),
            fuel_per_second: 1_000_000_000,
            version: "0".to_owned(),
        }
    }

    /// Says something.
    ///
    /// # Panics
    /// When the master has closed the session.
    pub fn say(&self, message: impl Into<wire::AgentMessage>) {
        self.master.blocking_send(message.into()).expect("the master has closed the session");
    }

    /// What the master says next that a test looks for; `None` when it closes the session.
    ///
    /// # Panics
    /// When it says nothing of the kind for long.
    pub fn hear<T>(&mut self, wanted: impl Fn(MasterMessage) -> Option<T>) -> Option<T> {
        let heard = async {
            while let Ok(Some(message)) = self.messages.message().await {
                let message = MasterMessage::try_from(message).expect("a master says what it may");
                if let Some(heard) = wanted(message) {
                    return Some(heard);
                }
            }
            None
        };
        let heard = async { timeout(PATIENCE, heard).await };
        self.runtime.block_on(heard).expect("the master does not say it")
    }
}
