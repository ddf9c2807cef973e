//! The cluster's blobs: on each master's own disk, acknowledged once a majority has them.
//!
//! A put is made durable here, then sent to the other masters; who does not take it is told later
//! and catches up (`catch_up`). A blob that is asked for and not here, or spoilt here, is fetched
//! from whoever has it. Blobs never change, so any master may take and give them.

pub mod quorum;

mod catch_up;
mod lacking;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tonic::{Status, metadata::MetadataMap, transport::Channel};
use weir_proto::{
    digest::Digest,
    id::{ClusterId, Namespace, NodeId},
    wire::peers_client::PeersClient,
};
use weir_scheduler::members::{Identity, Role};
use weir_store::{
    blobs::{BlobStore, GetError},
    copy,
    group::{Caller, Group},
    remote::RemoteStore,
};

use self::{
    lacking::Lacking,
    quorum::{Tally, Verdict},
};
use crate::{driver::Handle, peers::plain_endpoint};

/// How long a put waits for a majority that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(10);
/// A majority that could not be reached is tried again after so long.
const RETRY: Duration = Duration::from_millis(200);
/// How long another master may take to say whether it has a blob.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Puts that a master has not taken; beyond it, it catches up later.
const MAX_PUSHES: usize = 512;
/// Blobs that are remembered to be on a majority; at this many all are forgotten.
const MAX_KNOWN: usize = 65_536;

/// A handle on them; a clone is another one.
#[derive(Clone)]
pub(crate) struct Blobs {
    inner: Arc<Inner>,
}

struct Inner {
    store: BlobStore,
    master: Handle,
    identity: Identity,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    known: Mutex<Known>,
    lacking: Arc<Lacking>,
    /// Pushes that nobody may wait for any more; they end with this.
    pushes: Mutex<JoinSet<()>>,
}

/// Another master's store.
#[derive(Clone)]
struct Peer {
    address: String,
    store: RemoteStore,
    client: PeersClient<Channel>,
    room: Arc<Semaphore>,
}

/// Blobs that are here and on a majority of these.
#[derive(Default)]
struct Known {
    voters: BTreeSet<NodeId>,
    blobs: HashSet<(Namespace, Digest)>,
}

impl Blobs {
    pub(crate) fn new(store: BlobStore, master: Handle, identity: Identity) -> Blobs {
        let inner = Inner {
            store,
            master,
            identity,
            peers: Mutex::default(),
            known: Mutex::default(),
            lacking: Arc::default(),
            pushes: Mutex::default(),
        };
        Blobs { inner: Arc::new(inner) }
    }

    /// What this master has itself.
    pub(crate) fn here(&self) -> &BlobStore {
        &self.inner.store
    }

    /// A whole blob, verified.
    ///
    /// # Errors
    /// As `BlobStore::get`.
    pub(crate) async fn get(
        &self,
        namespace: &Namespace,
        digest: Digest,
    ) -> Result<Bytes, GetError> {
        match self.here().get(namespace, digest).await {
            Err(error) if error.is_curable() => {
                self.fetch(namespace, &[digest]).await;
                self.here().get(namespace, digest).await
            }
            got => got,
        }
    }

    /// Sees to it that these blobs outlive this master, and returns those that no master has.
    ///
    /// # Errors
    /// When too few masters can be reached, or the disk fails.
    pub(crate) async fn require(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, Status> {
        let digests = self.unknown(namespace, digests);
        if digests.is_empty() {
            return Ok(digests);
        }
        let failed = |error: GetError| Status::internal(error.to_string());
        let mut missing = self.here().find_missing(namespace, &digests).await.map_err(failed)?;
        if !missing.is_empty() {
            self.fetch(namespace, &missing).await;
            missing = self.here().find_missing(namespace, &missing).await.map_err(failed)?;
        }
        let there = digests.into_iter().filter(|digest| !missing.contains(digest));
        self.spread(namespace, &there.collect::<Vec<_>>()).await?;
        Ok(missing)
    }

    /// The sender has blobs that this master may lack.
    pub(crate) fn catch_up_from(&self, node: NodeId) {
        self.inner.lacking.we([node]);
    }

    fn voters(&self) -> BTreeSet<NodeId> {
        let state = self.inner.master.state();
        let voters = state.members.iter().filter(|(_, member)| member.role == Role::Voter);
        voters.map(|(node, _)| *node).collect()
    }

    /// Those of these blobs that are not known to be on a majority.
    fn unknown(&self, namespace: &Namespace, digests: &[Digest]) -> Vec<Digest> {
        let voters = self.voters();
        let mut known = self.inner.known.lock().expect("nobody panics while holding it");
        if known.voters != voters {
            *known = Known { voters, blobs: HashSet::new() };
        }
        let is_known = |digest: &&Digest| known.blobs.contains(&(namespace.clone(), **digest));
        digests.iter().filter(|digest| !is_known(digest)).copied().collect()
    }

    fn remember(&self, voters: &BTreeSet<NodeId>, namespace: &Namespace, digests: &[Digest]) {
        let mut known = self.inner.known.lock().expect("nobody panics while holding it");
        if known.voters != *voters {
            return;
        }
        if known.blobs.len() + digests.len() > MAX_KNOWN {
            known.blobs.clear();
        }
        known.blobs.extend(digests.iter().map(|digest| (namespace.clone(), *digest)));
    }

    /// The other masters, learners too.
    fn others(&self) -> Vec<(NodeId, Peer)> {
        let (state, us) = (self.inner.master.state(), self.inner.identity.node);
        let mut peers = self.inner.peers.lock().expect("nobody panics while holding it");
        peers.retain(|node, _| state.members.contains_key(node));
        let others = state.members.iter().filter(|(node, _)| **node != us);
        let mut found = Vec::new();
        for (node, member) in others {
            if peers.get(node).is_none_or(|peer| peer.address != member.address) {
                match self.connect(&member.address) {
                    Ok(peer) => drop(peers.insert(*node, peer)),
                    Err(error) => {
                        tracing::warn!(%node, %error, "a master's address is none");
                        continue;
                    }
                }
            }
            found.push((*node, peers[node].clone()));
        }
        found
    }

    fn connect(&self, address: &str) -> Result<Peer, Status> {
        let endpoint = plain_endpoint(address)?.user_agent(agent(self.inner.identity.cluster));
        let endpoint = endpoint.map_err(|error| Status::internal(error.to_string()))?;
        let channel = endpoint.connect_lazy();
        Ok(Peer {
            address: address.to_owned(),
            store: RemoteStore::new(channel.clone()),
            client: PeersClient::new(channel),
            room: Arc::new(Semaphore::new(MAX_PUSHES)),
        })
    }

    /// Sends blobs to the others once, and tells what follows, and what the last failure was.
    async fn push(
        &self,
        voters: &BTreeSet<NodeId>,
        namespace: &Namespace,
        digests: &Arc<[Digest]>,
        to_all: bool,
    ) -> (Tally, String) {
        let (lacking, us) = (&self.inner.lacking, self.inner.identity.node);
        let (mut tally, mut why) = (Tally::new(voters.clone()), String::new());
        tally.has(us);
        let (results, mut pushed) = mpsc::unbounded_channel();
        for (node, peer) in self.others() {
            // Whoever was away catches up; nobody waits for it if it can be helped.
            let permit = match lacking.may_lack(node) && !to_all {
                true => None,
                false => peer.room.clone().try_acquire_owned().ok(),
            };
            let Some(permit) = permit else {
                lacking.they([node]);
                tally.failed(node);
                continue;
            };
            let (store, lacking) = (self.here().clone(), lacking.clone());
            let (namespace, digests) = (namespace.clone(), digests.clone());
            let results = results.clone();
            let push = async move {
                let sent = copy::send(&store, &peer.store, &namespace, &digests).await;
                drop(permit);
                if sent.is_err() {
                    lacking.they([node]);
                }
                // Enough others may have it by now.
                let _unneeded = results.send((node, sent));
            };
            let mut pushes = self.inner.pushes.lock().expect("nobody panics while holding it");
            while pushes.try_join_next().is_some() {}
            pushes.spawn(push);
        }
        drop(results);
        while tally.verdict() == Verdict::Waiting
            && let Some((node, sent)) = pushed.recv().await
        {
            match sent {
                Ok(()) => tally.has(node),
                Err(error) => {
                    why = format!("; {node}: {}", error.chain());
                    tally.failed(node);
                }
            }
        }
        (tally, why)
    }
}

#[tonic::async_trait]
impl Group for Blobs {
    fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let named = metadata.get("user-agent").and_then(|agent| agent.to_str().ok());
        let Some(cluster) = named.and_then(|named| named.strip_prefix(STORE_AGENT)) else {
            return Ok(Caller::Client);
        };
        let ours = self.inner.identity.cluster;
        match cluster.split(' ').next() == Some(&ours.to_string()) {
            true => Ok(Caller::Store),
            false => Err(Status::failed_precondition(format!("this is a master of {ours}"))),
        }
    }

    async fn spread(&self, namespace: &Namespace, digests: &[Digest]) -> Result<(), Status> {
        let digests: Arc<[Digest]> = self.unknown(namespace, digests).into();
        let deadline = Instant::now() + PATIENCE;
        let mut to_all = false;
        while !digests.is_empty() {
            let voters = self.voters();
            let (tally, why) = self.push(&voters, namespace, &digests, to_all).await;
            if tally.verdict() == Verdict::Enough {
                self.remember(&voters, namespace, &digests);
                break;
            }
            if Instant::now() > deadline {
                return Err(Status::unavailable(format!(
                    "the blob is on {} of {} masters, and must be on {}; try again when more of \
                     them can be reached{why}",
                    tally.count(),
                    tally.voters(),
                    tally.needed()
                )));
            }
            if to_all {
                tokio::time::sleep(RETRY).await;
            }
            to_all = true;
        }
        Ok(())
    }

    async fn fetch(&self, namespace: &Namespace, digests: &[Digest]) {
        let mut wanted = Vec::new();
        for digest in digests {
            if self.here().verify(namespace, *digest).await.is_err() {
                wanted.push(*digest);
            }
        }
        for (node, peer) in self.others() {
            if wanted.is_empty() {
                break;
            }
            let asked = timeout(ASK_TIMEOUT, peer.store.find_missing(namespace, &wanted)).await;
            let Ok(Ok(missing)) = asked else { continue };
            let there = wanted.iter().filter(|digest| !missing.contains(digest));
            // How large they are is not known: each comes by itself.
            let there = there.map(|digest| (*digest, u64::MAX));
            match copy::receive(self.here(), &peer.store, namespace, there).await {
                Ok(spoilt) => {
                    wanted.retain(|digest| missing.contains(digest) || spoilt.contains(digest));
                }
                Err(error) => {
                    let error = error.chain();
                    tracing::warn!(%node, error, "a blob that another master has does not come");
                }
            }
        }
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blobs").field("of", &self.inner.identity).finish_non_exhaustive()
    }
}

/// How a master begins to call itself when it means just another's own store.
const STORE_AGENT: &str = "weir-master-store/";

/// The whole of it says which cluster it is of.
fn agent(cluster: ClusterId) -> String {
    format!("{STORE_AGENT}{cluster}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::USER_AGENT;

    #[test]
    fn a_call_for_a_masters_own_store_is_not_handed_on() {
        assert!(agent(ClusterId(7)).starts_with(USER_AGENT));
        assert!(!USER_AGENT.starts_with(STORE_AGENT), "what is handed on is a client's");
    }
}
