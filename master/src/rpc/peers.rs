//! `Peers`: what masters say to each other, and who is one.

use bytes::{Bytes, BytesMut};
use tonic::{Request, Response, Status, Streaming};
use weir_proto::{
    digest::Digest,
    id::{ClusterId, NodeId},
    wire,
};
use weir_scheduler::members::{Identity, Role};

use super::{malformed, refused, stopping};
use crate::{
    blobs::Blobs,
    control::{Control, Event, MemberRequest},
    driver::{Handle, Input},
    node::{NodeRole, PeerMessage},
};

/// Most bytes of a state that a peer sends.
const MAX_STATE_BYTES: usize = 1 << 30;
/// Most blobs in one page of a list.
const MAX_LISTED: usize = 10_000;

/// The service.
#[derive(Clone)]
pub(crate) struct PeersService {
    master: Handle,
    blobs: Blobs,
    identity: Identity,
}

impl PeersService {
    pub(crate) fn new(master: Handle, blobs: Blobs, identity: Identity) -> PeersService {
        PeersService { master, blobs, identity }
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
            return Err(Status::failed_precondition(format!(
                "{from} was removed from {cluster}; join again with an empty data directory"
            )));
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
    }
}

#[tonic::async_trait]
impl wire::peers_server::Peers for PeersService {
    async fn send(
        &self,
        request: Request<Streaming<wire::PeerFrame>>,
    ) -> Result<Response<wire::PeerSendResponse>, Status> {
        let mut frames = request.into_inner();
        while let Some(frame) = frames.message().await? {
            self.check(&frame)?;
            if !frame.address.is_empty() {
                let at = Input::PeerIsAt(NodeId(frame.from), frame.address);
                self.master.send(at).await.map_err(stopping)?;
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
        let address = request.into_inner().address;
        let at = |node: NodeId| {
            let cluster = self.identity.cluster.0;
            Response::new(wire::JoinResponse { cluster, node: node.0 })
        };
        let state = self.master.state();
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
