//! What carries messages to the other masters: for each a queue, a call that stays open, and a
//! task that owns both.
//!
//! Raft repeats what matters, so a full queue drops. A snapshot has a call of its own, in pieces,
//! and holds nothing up. The other end is `crate::rpc`'s `Peers`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Endpoint};
use weir_proto::{
    digest::Digest,
    id::{Namespace, NodeId},
    wire::{self, peers_client::PeersClient},
};
use weir_scheduler::members::Member;
use weir_store::{blobs::BlobStore, remote::RemoteStore};

use crate::{
    control::Event,
    driver::{Input, unix_ms},
    forward::USER_AGENT,
    node::PeerMessage,
};

/// How a master is told that it is none of that cluster, and will not be again.
pub(crate) const NO_MEMBER: Code = Code::PermissionDenied;

/// Messages to a peer that its connection has not taken; beyond it they are dropped.
const QUEUE: usize = 256;
/// Frames that a call has not taken.
const FRAMES: usize = 16;
/// Most bytes of state in one frame.
const PIECE_BYTES: usize = 1 << 20;
/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that did not answer is tried again after so long.
const RETRY: Duration = Duration::from_millis(200);
/// How often a quiet connection is probed, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Pages that are fetched at once, and made durable together.
const PAGES_AT_ONCE: usize = 64;
/// Longest time for a snapshot to be taken.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);
/// HTTP/2's windows of 64 KiB throttle snapshots.
const WINDOW_BYTES: u32 = 8 << 20;

/// What a master says of itself when it begins to send.
#[derive(Debug)]
pub(crate) struct Ourselves {
    /// Where it is reached.
    pub(crate) address: String,
    /// Drawn when its data directory was made.
    pub(crate) data: u64,
    /// Drawn when it started.
    pub(crate) boot: u64,
}

/// The other masters.
pub(crate) struct Peers {
    inbox: mpsc::Sender<Input>,
    ourselves: Arc<Ourselves>,
    members: BTreeMap<NodeId, Peer>,
    tasks: JoinSet<()>,
    /// Who is being sent a snapshot.
    in_snapshot: Arc<Mutex<BTreeSet<NodeId>>>,
}

/// Another master.
struct Peer {
    address: String,
    queue: mpsc::Sender<PeerMessage>,
}

impl Peers {
    pub(crate) fn new(inbox: mpsc::Sender<Input>, ourselves: Ourselves) -> Peers {
        let (members, tasks) = (BTreeMap::new(), JoinSet::new());
        let ourselves = Arc::new(ourselves);
        Peers { inbox, ourselves, members, tasks, in_snapshot: Arc::default() }
    }

    /// Tells who there is; a task whose queue is dropped ends.
    pub(crate) fn are<'a>(&mut self, members: impl Iterator<Item = (&'a NodeId, &'a Member)>) {
        let mut before = std::mem::take(&mut self.members);
        for (node, member) in members {
            let known = before.remove(node).filter(|peer| peer.address == member.address);
            let peer = known.unwrap_or_else(|| self.begin(*node, member.address.clone()));
            self.members.insert(*node, peer);
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// A master said where it is. One that has just joined knows nobody else to answer to.
    pub(crate) fn is_at(&mut self, node: NodeId, address: String) {
        if !self.members.contains_key(&node) {
            let peer = self.begin(node, address);
            self.members.insert(node, peer);
        }
    }

    fn begin(&mut self, node: NodeId, address: String) -> Peer {
        let (queue, messages) = mpsc::channel(QUEUE);
        let way = Way { ourselves: self.ourselves.clone(), address: address.clone() };
        self.tasks.spawn(carry(node, way, messages, self.inbox.clone()));
        Peer { address, queue }
    }

    pub(crate) fn send(&mut self, message: PeerMessage) {
        let Some(peer) = self.members.get(&message.to) else { return };
        if message.state.is_empty() {
            // Full, or it is being replaced: Raft repeats what matters.
            let _dropped = peer.queue.try_send(message);
            return;
        }
        let node = message.to;
        if !self.in_snapshot.lock().expect("nobody panics here").insert(node) {
            return;
        }
        let (address, inbox) = (peer.address.clone(), self.inbox.clone());
        let in_snapshot = self.in_snapshot.clone();
        self.tasks.spawn(async move {
            tracing::info!(%node, bytes = message.state.len(), "sending a snapshot");
            let sent = tokio::time::timeout(SNAPSHOT_TIMEOUT, send_whole(&address, message)).await;
            in_snapshot.lock().expect("nobody panics here").remove(&node);
            if !matches!(sent, Ok(Ok(()))) {
                tracing::warn!(%node, ?sent, "a snapshot did not arrive");
                // The loop may be gone.
                let _stopping = inbox.send(Input::Event(Event::SnapshotLost(node))).await;
            }
        });
    }

    /// Makes pages durable here that a peer's snapshot names, then hands the message to the loop.
    pub(crate) fn fetch(
        &mut self,
        store: BlobStore,
        message: PeerMessage,
        pages: Vec<(Namespace, Digest)>,
    ) {
        let address = self.members.get(&message.from).map(|peer| peer.address.clone());
        let inbox = self.inbox.clone();
        self.tasks.spawn(async move {
            let event = match fetch_pages(&store, address.as_deref(), pages).await {
                Ok(()) => Event::PagesFetched(message),
                Err(error) => {
                    tracing::warn!(error, "a snapshot's pages cannot be fetched");
                    Event::PagesMissing
                }
            };
            let _stopping = inbox.send(Input::Event(event)).await;
        });
    }
}

/// The way to just that master.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, Status> {
    let named = plain_endpoint(address)?.user_agent(USER_AGENT);
    named.map_err(|error| Status::internal(error.to_string()))
}

/// The way to a master, which may hand on what it is asked.
pub(crate) fn plain_endpoint(address: &str) -> Result<Endpoint, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|_| Status::internal(format!("{address:?} is no address")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .tcp_nodelay(true))
}

/// The way to a peer, and who goes it.
struct Way {
    ourselves: Arc<Ourselves>,
    /// Where the peer is reached.
    address: String,
}

/// Carries messages to a peer until nobody has any more.
async fn carry(
    node: NodeId,
    way: Way,
    mut messages: mpsc::Receiver<PeerMessage>,
    inbox: mpsc::Sender<Input>,
) {
    let mut told = String::new();
    while let Some(first) = messages.recv().await {
        let Err(status) = call(&way, first, &mut messages).await else { return };
        if status.code() == NO_MEMBER {
            let why = status.message().to_owned();
            // The loop may be gone.
            let _stopping = inbox.send(Input::Dismissed(why)).await;
            return;
        }
        // What waited is stale by the time it could be sent.
        while messages.try_recv().is_ok() {}
        let why = status.message().to_owned();
        if told != why {
            tracing::warn!(%node, address = way.address, why, "a master cannot be reached");
            told = why;
        }
        if inbox.send(Input::Event(Event::PeerUnreachable(node))).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// One call: until there are no more messages, or it breaks.
async fn call(
    way: &Way,
    first: PeerMessage,
    messages: &mut mpsc::Receiver<PeerMessage>,
) -> Result<(), Status> {
    let mut client = PeersClient::new(endpoint(&way.address)?.connect_lazy());
    let (frames, stream) = mpsc::channel(FRAMES);
    let Ourselves { address, data, boot } = &*way.ourselves;
    let unix_ms = unix_ms();
    let ourselves = wire::PeerFrame {
        address: address.clone(),
        data: *data,
        boot: *boot,
        unix_ms,
        ..wire::PeerFrame::default()
    };
    let mut ourselves = Some(ourselves);
    let sending = client.send(ReceiverStream::new(stream));
    let mut sending = std::pin::pin!(sending);
    let mut next = Some(first);
    while let Some(message) = next {
        let frame = frame(&message, ourselves.take().unwrap_or_default());
        tokio::select! {
            ended = &mut sending => {
                ended?;
                return Err(Status::unavailable("it hung up"));
            }
            // The call holds the other end.
            _taken = frames.send(frame) => {}
        }
        next = tokio::select! {
            ended = &mut sending => {
                ended?;
                return Err(Status::unavailable("it hung up"));
            }
            message = messages.recv() => message,
        };
    }
    Ok(())
}

fn frame(message: &PeerMessage, ourselves: wire::PeerFrame) -> wire::PeerFrame {
    wire::PeerFrame {
        cluster: message.cluster.0,
        from: message.from.0,
        to: message.to.0,
        raft: message.raft.clone(),
        ..ourselves
    }
}

/// Sends a message that brings a snapshot.
async fn send_whole(address: &str, message: PeerMessage) -> Result<(), Status> {
    let mut client = PeersClient::new(endpoint(address)?.connect_lazy());
    let (frames, stream) = mpsc::channel(FRAMES);
    let first = frame(&message, wire::PeerFrame::default());
    let feed = async move {
        let mut next = Some(first);
        let mut pieces = message.state.chunks(PIECE_BYTES).peekable();
        while let Some(piece) = pieces.next() {
            let head = next.take().unwrap_or_default();
            let more = pieces.peek().is_some();
            let frame = wire::PeerFrame { state: piece.to_vec(), more, ..head };
            if frames.send(frame).await.is_err() {
                return;
            }
        }
    };
    let (sent, ()) = tokio::join!(client.send(ReceiverStream::new(stream)), feed);
    sent.map(|_| ())
}

async fn fetch_pages(
    store: &BlobStore,
    address: Option<&str>,
    pages: Vec<(Namespace, Digest)>,
) -> Result<(), String> {
    let mut by_namespace: BTreeMap<Namespace, Vec<Digest>> = BTreeMap::new();
    for (namespace, digest) in pages {
        by_namespace.entry(namespace).or_default().push(digest);
    }
    for (namespace, digests) in by_namespace {
        let missing = store.find_missing(&namespace, &digests).await;
        let missing = missing.map_err(|error| error.to_string())?;
        if missing.is_empty() {
            continue;
        }
        let address = address.ok_or("whoever sent it is no member")?;
        let channel = endpoint(address).map_err(|status| status.message().to_owned())?;
        let remote = RemoteStore::new(channel.connect_lazy());
        for some in missing.chunks(PAGES_AT_ONCE) {
            let mut asked = JoinSet::new();
            for digest in some {
                let (remote, namespace, digest) = (remote.clone(), namespace.clone(), *digest);
                asked.spawn(async move { remote.get(&namespace, digest).await });
            }
            let pages = asked.join_all().await.into_iter().collect::<Result<Vec<_>, _>>();
            let pages = pages.map_err(|error| error.to_string())?;
            store.put_batch(&namespace, pages).await.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
