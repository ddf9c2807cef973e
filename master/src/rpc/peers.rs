//! `Peers`: what masters say to each other, and who is one.

mod presence;

use std::{sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use tonic::{Request, Response, Status, Streaming};
use weir_proto::{
    digest::Digest,
    feature::FEATURE_LEVEL,
    id::{ClusterId, NodeId},
    malformed::Malformed,
    wire,
};
use weir_scheduler::members::{Identity, Role};

use self::presence::{Call, Presence, Twin};
use super::{malformed, refused, stopping};
use crate::{
    blobs::Blobs,
    control::{Control, Event, Introduction, MemberRequest},
    driver::{Handle, Input, unix_ms},
    node::{NodeRole, PeerMessage},
    peers::NO_MEMBER,
};

/// Most bytes of a state that a peer sends.
const MAX_STATE_BYTES: usize = 1 << 30;
/// Most blobs in one page of a list.
const MAX_LISTED: usize = 10_000;
/// A clock that differs by more is told of. Nothing but what is shown depends on clocks.
const MAX_CLOCK_MS: u64 = 10_000;

/// The service.
#[derive(Clone)]
pub(crate) struct PeersService {
    master: Handle,
    blobs: Blobs,
    identity: Identity,
    presence: Arc<Presence>,
}

impl PeersService {
    pub(crate) fn new(master: Handle, blobs: Blobs, identity: Identity) -> PeersService {
        PeersService { master, blobs, identity, presence: Arc::default() }
    }

    fn check_cluster(&self, theirs: u64) -> Result<(), Status> {
        let (ours, theirs) = (self.identity.cluster, ClusterId(theirs));
        match theirs == ours {
            true => Ok(()),
            false => Err(Status::failed_precondition(format!(
                "this is a master of {ours}, not of {theirs}"
            ))),
        }
    }

    /// Says clearly what somebody got wrong; Raft's own messages would only be dropped.
    fn check(&self, frame: &wire::PeerFrame) -> Result<(), Status> {
        let Identity { cluster, node } = self.identity;
        let (state, from) = (self.master.state(), NodeId(frame.from));
        self.check_cluster(frame.cluster)?;
        if frame.to != node.0 || from == node {
            return Err(Status::failed_precondition(format!(
                "this is {node}, and {from} looks for {} here",
                NodeId(frame.to)
            )));
        }
        if !state.members.contains_key(&from) && from.0 <= state.last_node {
            return Err(Status::new(
                NO_MEMBER,
                format!(
                    "{from} was removed from {cluster}; to make that machine a master again, start \
                     it with --join and an empty data directory"
                ),
            ));
        }
        Ok(())
    }

    /// A call begins: who sends it is the master that it says it is, and no other is.
    fn check_introduction(&self, frame: &wire::PeerFrame) -> Result<(), Status> {
        let (state, from) = (self.master.state(), NodeId(frame.from));
        let known = state.members.get(&from).map_or(0, |member| member.data);
        if frame.data != 0 && known != 0 && frame.data != known {
            return Err(Status::new(
                NO_MEMBER,
                format!(
                    "{from} has other data than it had: what it promised is forgotten; remove it \
                     with `weir cluster remove-member {from}`, and start it with --join and an \
                     empty data directory"
                ),
            ));
        }
        let ahead_ms = frame.unix_ms as i64 - unix_ms() as i64;
        if frame.unix_ms != 0 && ahead_ms.unsigned_abs() > MAX_CLOCK_MS {
            let seconds = ahead_ms / 1_000;
            tracing::warn!(%from, seconds, "a master's clock is ahead of ours by so much; set them");
        }
        Ok(())
    }
}

/// What a master knows of itself.
pub(crate) fn look(control: &Control) -> wire::MemberView {
    let state = control.state();
    let address = state.members.get(&control.node()).map(|member| member.address.clone());
    wire::MemberView {
        node: control.node().0,
        address: address.unwrap_or_default(),
        role: match control.role() {
            NodeRole::Leader => wire::MemberRole::Leader.into(),
            NodeRole::Follower => wire::MemberRole::Follower.into(),
            NodeRole::Candidate => wire::MemberRole::Candidate.into(),
            NodeRole::Learner => wire::MemberRole::Learner.into(),
        },
        term: control.term(),
        committed_index: control.committed(),
        applied_index: state.applied,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        clock_ahead_ms: 0,
        unix_ms: unix_ms(),
        feature_level: FEATURE_LEVEL,
    }
}

#[tonic::async_trait]
impl wire::peers_server::Peers for PeersService {
    async fn send(
        &self,
        request: Request<Streaming<wire::PeerFrame>>,
    ) -> Result<Response<wire::PeerSendResponse>, Status> {
        let mut frames = request.into_inner();
        let mut call = None;
        while let Some(frame) = frames.message().await? {
            self.check(&frame)?;
            let from = NodeId(frame.from);
            let twin = |twin: Twin| Status::unavailable(twin.to_string());
            match &call {
                Some(call) => Call::heard(call, Instant::now()).map_err(twin)?,
                // One that brings a snapshot does not introduce itself.
                None if frame.address.is_empty() => {}
                None => {
                    self.check_introduction(&frame)?;
                    let begun = self.presence.begin(from, frame.boot, Instant::now());
                    call = Some(begun.map_err(twin)?);
                    let introduction = Introduction { address: frame.address, data: frame.data };
                    let introduced = Input::Introduced(from, introduction);
                    self.master.send(introduced).await.map_err(stopping)?;
                }
            }
            let mut state = BytesMut::from(&frame.state[..]);
            let mut more = frame.more;
            while more {
                let Some(piece) = frames.message().await? else {
                    return Err(Status::aborted("the message is not whole"));
                };
                if state.len() + piece.state.len() > MAX_STATE_BYTES {
                    return Err(Status::resource_exhausted("the state is too large"));
                }
                state.extend_from_slice(&piece.state);
                more = piece.more;
            }
            let message = PeerMessage {
                cluster: ClusterId(frame.cluster),
                from: NodeId(frame.from),
                to: NodeId(frame.to),
                raft: frame.raft,
                state: Bytes::from(state),
            };
            let event = Input::Event(Event::FromPeer(message));
            self.master.send(event).await.map_err(stopping)?;
        }
        Ok(Response::new(wire::PeerSendResponse {}))
    }

    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let wire::JoinRequest { address, feature_level } = request.into_inner();
        let at = |node: NodeId| {
            let cluster = self.identity.cluster.0;
            Response::new(wire::JoinResponse { cluster, node: node.0 })
        };
        let state = self.master.state();
        if let Some(known) = feature_level.filter(|known| *known < state.feature_level) {
            let found = state.feature_level;
            let why = Malformed::FeatureLevel { found, known };
            return Err(Status::failed_precondition(why.to_string()));
        }
        let known = state.members.iter().find(|(_, member)| member.address == address);
        if let Some((node, member)) = known {
            let node = *node;
            let progress = self.master.inspect(|control, _| control.progress()).await;
            let peer = progress.map_err(stopping)?.into_iter().find(|peer| peer.node == node);
            // Whoever asks again, for the answer was lost, has not taken anything yet.
            if member.role == Role::Learner && peer.is_some_and(|peer| peer.matched == 0) {
                return Ok(at(node));
            }
        }
        let add = MemberRequest::Add { address: address.clone() };
        let answer = self.master.ask(move |ticket| Event::ChangeMembers(ticket, add)).await;
        answer.map_err(stopping)?.map_err(|refusal| refused(&refusal))?;
        let state = self.master.state();
        let added = state.members.iter().find(|(_, member)| member.address == address);
        let added = added.ok_or_else(|| Status::aborted("it was removed at once"))?;
        Ok(at(*added.0))
    }

    async fn look(
        &self,
        _request: Request<wire::LookRequest>,
    ) -> Result<Response<wire::MemberView>, Status> {
        let view = self.master.inspect(|control, _| look(control)).await;
        Ok(Response::new(view.map_err(stopping)?))
    }

    async fn list_stored(
        &self,
        request: Request<wire::ListStoredRequest>,
    ) -> Result<Response<wire::ListStoredResponse>, Status> {
        let request = request.into_inner();
        self.check_cluster(request.cluster)?;
        let after = match &request.after_digest[..] {
            [] => None,
            digest => {
                let digest = Digest::try_from(digest).map_err(|error| malformed(&error))?;
                let namespace = request.after_namespace.parse();
                Some((namespace.map_err(|error| malformed(&error))?, digest))
            }
        };
        let listed = self.blobs.here().list_all(after, MAX_LISTED).await;
        let listed = listed.map_err(|error| Status::internal(error.to_string()))?;
        let mut namespaces: Vec<wire::StoredBlobs> = Vec::new();
        for (namespace, digest, size_bytes) in listed {
            if namespaces.last().is_none_or(|last| last.namespace != namespace.as_str()) {
                let namespace = namespace.as_str().to_owned();
                namespaces.push(wire::StoredBlobs { namespace, ..Default::default() });
            }
            if let Some(last) = namespaces.last_mut() {
                last.digests.extend_from_slice(&digest.0);
                last.size_bytes.push(size_bytes);
            }
        }
        Ok(Response::new(wire::ListStoredResponse { namespaces }))
    }

    async fn catch_up(
        &self,
        request: Request<wire::CatchUpRequest>,
    ) -> Result<Response<wire::CatchUpResponse>, Status> {
        let request = request.into_inner();
        self.check_cluster(request.cluster)?;
        self.blobs.catch_up_from(NodeId(request.from));
        Ok(Response::new(wire::CatchUpResponse {}))
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveMemberRequest>,
    ) -> Result<Response<wire::RemoveMemberResponse>, Status> {
        let remove = MemberRequest::Remove(NodeId(request.into_inner().node));
        let answer = self.master.ask(move |ticket| Event::ChangeMembers(ticket, remove)).await;
        answer.map_err(stopping)?.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::RemoveMemberResponse {}))
    }

    async fn transfer(
        &self,
        request: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::TransferResponse>, Status> {
        let node = NodeId(request.into_inner().node);
        let answer = self.master.ask(move |ticket| Event::TransferLeader(ticket, node)).await;
        answer.map_err(stopping)?.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::TransferResponse {}))
    }
}
