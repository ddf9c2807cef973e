//! What a master lacks: it lists what the others have, and gets it.
//!
//! A master asks all others, and tells them to ask it, when it starts, when another leads, when
//! one joined, and now and then: whatever was acknowledged is on one of any majority. One to which
//! something did not come through is told at once. Lists are compared whole: a million blobs are
//! some 40 MB from each master.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::{Response, Status};
use weir_proto::{
    digest::Digest,
    id::{ClusterId, Namespace, NodeId},
    wire,
};
use weir_store::{blobs::BlobStore, copy};

use super::{
    Blobs, Peer,
    quorum::{Tally, Verdict},
};
use crate::forward::Leadership;

/// How often it is looked what there is to do; a master that could not be reached is tried again.
const ROUND: Duration = Duration::from_secs(1);
/// How often masters compare what they have without a reason.
const COMPARED: Duration = Duration::from_secs(600);
/// How long a page of a list, or an answer, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Something to be done with another master; one of a kind at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Errand {
    /// Get what it has and this one lacks.
    Ask(NodeId),
    /// Tell it that it may lack something.
    Tell(NodeId),
}

type Errands = JoinSet<(Errand, Result<u64, String>)>;

/// What was seen in the last round.
#[derive(PartialEq, Eq)]
struct Seen {
    leader: Leadership,
    others: BTreeSet<NodeId>,
}

impl Blobs {
    /// Sees to what masters lack until the loop has ended.
    pub(crate) async fn run(self) {
        let mut ticks = interval(ROUND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut errands, mut under_way) = (Errands::new(), BTreeSet::new());
        let (mut seen, mut compared) = (None, Instant::now());
        // What a master said last that could not be asked or told.
        let mut failures = BTreeMap::new();
        loop {
            tokio::select! {
                () = self.inner.master.ended() => return,
                Some(Ok((errand, result))) = errands.join_next() => {
                    under_way.remove(&errand);
                    self.done(errand, result, &mut failures);
                }
                _ = ticks.tick() => {
                    let others: BTreeMap<NodeId, Peer> = self.others().into_iter().collect();
                    let leader = self.inner.master.leadership().borrow().clone();
                    let now = Seen { leader, others: others.keys().copied().collect() };
                    let changed = seen.as_ref() != Some(&now);
                    if now.leader != Leadership::Nobody && changed || compared.elapsed() > COMPARED {
                        self.inner.lacking.we(now.others.iter().copied());
                        self.inner.lacking.they(now.others.iter().copied());
                        compared = Instant::now();
                        seen = Some(now);
                    }
                    self.begin(&others, &mut under_way, &mut errands);
                }
            }
        }
    }

    /// Gets what the other masters have now. A majority of them all, this one included, has to
    /// answer: then whatever was acknowledged before is here.
    ///
    /// # Errors
    /// When too few answer.
    pub(crate) async fn gather(&self) -> Result<(), Status> {
        let mut tally = Tally::new(self.voters());
        tally.has(self.inner.identity.node);
        let mut asked = JoinSet::new();
        for (node, peer) in self.others() {
            let (store, cluster) = (self.here().clone(), self.inner.identity.cluster);
            asked.spawn(async move { (node, get_all(&store, cluster, &peer).await) });
        }
        let mut last = String::new();
        while let Some(Ok((node, got))) = asked.join_next().await {
            match got {
                Ok(_) => tally.has(node),
                Err(why) => last = format!("; {node}: {why}"),
            }
        }
        match tally.verdict() {
            Verdict::Enough => Ok(()),
            Verdict::Waiting | Verdict::TooFew => Err(Status::unavailable(format!(
                "{} of {} masters tell what blobs they have, and {} must{last}",
                tally.count(),
                tally.voters(),
                tally.needed()
            ))),
        }
    }

    /// Begins what there is to do; whoever is no master any more is forgotten.
    fn begin(
        &self,
        others: &BTreeMap<NodeId, Peer>,
        under_way: &mut BTreeSet<Errand>,
        errands: &mut Errands,
    ) {
        let (lacking, identity) = (&self.inner.lacking, self.inner.identity);
        for node in lacking.take_to_ask() {
            let Some(peer) = others.get(&node).cloned() else { continue };
            if !under_way.insert(Errand::Ask(node)) {
                // What it got since it was last asked, it may not have listed.
                lacking.we([node]);
                continue;
            }
            let store = self.here().clone();
            errands.spawn(async move {
                (Errand::Ask(node), get_all(&store, identity.cluster, &peer).await)
            });
        }
        for node in lacking.take_to_tell() {
            let Some(mut peer) = others.get(&node).cloned() else { continue };
            under_way.insert(Errand::Tell(node));
            let (cluster, from) = (identity.cluster.0, identity.node.0);
            errands.spawn(async move {
                let request = wire::CatchUpRequest { cluster, from };
                let told = answer(peer.client.catch_up(request)).await;
                (Errand::Tell(node), told.map(|_| 0))
            });
        }
    }

    fn done(
        &self,
        errand: Errand,
        result: Result<u64, String>,
        failures: &mut BTreeMap<Errand, String>,
    ) {
        let (Errand::Ask(node) | Errand::Tell(node)) = errand;
        match result {
            Ok(got) => {
                failures.remove(&errand);
                if got > 0 {
                    tracing::info!(%node, blobs = got, "caught up with another master's blobs");
                }
            }
            Err(why) => {
                match errand {
                    Errand::Ask(_) => self.inner.lacking.we([node]),
                    Errand::Tell(_) => self.inner.lacking.they([node]),
                }
                if failures.get(&errand) != Some(&why) {
                    tracing::warn!(%node, why, "cannot compare blobs with another master");
                    failures.insert(errand, why);
                }
            }
        }
    }
}

/// Gets what another master has and this one lacks; returns how many blobs that were.
async fn get_all(store: &BlobStore, cluster: ClusterId, peer: &Peer) -> Result<u64, String> {
    let mut got = 0;
    let mut request = wire::ListStoredRequest { cluster: cluster.0, ..Default::default() };
    loop {
        let mut client = peer.client.clone();
        let listed = answer(client.list_stored(request.clone())).await?.namespaces;
        let Some(last) = listed.last() else { return Ok(got) };
        request.after_namespace.clone_from(&last.namespace);
        let [.., after] = last.digests.as_chunks::<32>().0 else {
            return Err("it lists a namespace without blobs".to_owned());
        };
        request.after_digest = after.to_vec();
        for blobs in listed {
            got += get_lacking(store, peer, &blobs).await?;
        }
    }
}

async fn get_lacking(
    store: &BlobStore,
    peer: &Peer,
    blobs: &wire::StoredBlobs,
) -> Result<u64, String> {
    let namespace: Namespace = blobs.namespace.parse().map_err(|_| "it lists no namespace")?;
    let (digests, rest) = blobs.digests.as_chunks::<32>();
    if !rest.is_empty() || digests.len() != blobs.size_bytes.len() {
        return Err("it lists digests that are none".to_owned());
    }
    let digests: Vec<Digest> = digests.iter().copied().map(Digest).collect();
    let missing = store.find_missing(&namespace, &digests).await;
    let missing: HashSet<Digest> =
        missing.map_err(|error| error.to_string())?.into_iter().collect();
    let sized = digests.into_iter().zip(blobs.size_bytes.iter().copied());
    let lacking = sized.filter(|(digest, _)| missing.contains(digest));
    let spoilt = copy::receive(store, &peer.store, &namespace, lacking).await;
    let spoilt = spoilt.map_err(|error| error.chain())?;
    for digest in &spoilt {
        tracing::warn!(%digest, %namespace, from = peer.address, "another master has spoilt a blob");
    }
    Ok((missing.len() - spoilt.len()) as u64)
}

async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, String> {
    match timeout(ANSWER_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}
