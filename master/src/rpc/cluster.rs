//! `Cluster`: what the cluster is and how it does.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use weir_proto::{
    command::Change,
    event::Position,
    id::{AgentId, Namespace, NodeId},
    weight::{NamespaceView, weight_from_wire},
    wire::{self, peers_client::PeersClient},
};
use weir_scheduler::{
    members::Member,
    snapshot,
    state::{AgentLife, AgentRecord, ClusterState},
};

use super::{backup, events, malformed, peers, refused, stopping, upgrade};
use crate::{
    blobs::Blobs,
    control::Control,
    driver::{Handle, unix_ms},
    peers::endpoint,
};

/// Events that a client has not taken.
const EVENTS_QUEUE: usize = 64;

/// How long another master may take to tell how it is.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);

/// The service.
#[derive(Clone)]
pub(crate) struct ClusterService {
    master: Handle,
    blobs: Blobs,
    /// One at a time: each reads the whole store.
    backups: Arc<Semaphore>,
}

impl ClusterService {
    pub(crate) fn new(master: Handle, blobs: Blobs) -> ClusterService {
        ClusterService { master, blobs, backups: Arc::new(Semaphore::new(1)) }
    }
}

/// All masters, each as it knows itself; one that does not answer is away.
async fn everybody(ours: Vec<wire::MemberView>, state: &ClusterState) -> Vec<wire::MemberView> {
    let mut asked = JoinSet::new();
    for (node, member) in &state.members {
        if ours.iter().all(|view| view.node != node.0) {
            asked.spawn(ask(*node, member.clone()));
        }
    }
    let mut members = ours;
    while let Some(Ok(view)) = asked.join_next().await {
        members.push(view);
    }
    members.sort_by_key(|view| view.node);
    members
}

async fn ask(node: NodeId, member: Member) -> wire::MemberView {
    let look = async {
        let channel = endpoint(&member.address)?.connect_lazy();
        PeersClient::new(channel).look(wire::LookRequest {}).await
    };
    let asked_ms = unix_ms();
    match timeout(LOOK_TIMEOUT, look).await {
        Ok(Ok(view)) => {
            let mut view = view.into_inner();
            // As if its answer had taken half of the time.
            let ours_ms = asked_ms.midpoint(unix_ms());
            view.clock_ahead_ms = (view.unix_ms as i64).wrapping_sub(ours_ms as i64);
            view
        }
        Ok(Err(_)) | Err(_) => wire::MemberView {
            node: node.0,
            address: member.address,
            role: wire::MemberRole::Away.into(),
            ..wire::MemberView::default()
        },
    }
}

fn life(agent: &AgentRecord) -> wire::AgentLife {
    match agent.life {
        AgentLife::Live { .. } if agent.draining => wire::AgentLife::Draining,
        AgentLife::Live { .. } => wire::AgentLife::Live,
        AgentLife::Left { .. } => wire::AgentLife::Left,
        AgentLife::Lost { .. } => wire::AgentLife::Lost,
    }
}

/// The namespaces that have something of their own.
fn namespaces(control: &Control) -> Vec<NamespaceView> {
    let state = control.state();
    let known: BTreeSet<_> = state.backlog.keys().chain(state.weights.keys()).collect();
    let view = |namespace: &Namespace| {
        let backlog = state.backlog.get(namespace).copied().unwrap_or_default();
        NamespaceView {
            namespace: namespace.clone(),
            weight: state.weight(namespace),
            active_jobs: backlog.jobs,
            open_tasks: backlog.tasks,
            slots: control.table().map_or(0, |table| table.slots_of(namespace)),
        }
    };
    known.into_iter().map(view).collect()
}

#[tonic::async_trait]
impl wire::cluster_server::Cluster for ClusterService {
    async fn status(
        &self,
        _request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::ClusterStatus>, Status> {
        let status = self.master.inspect(move |control, latencies| {
            let state = control.state();
            let agents = state.agents.values().map(|agent| {
                let id = agent.description.id;
                let table = control.table();
                let used = table.map(|table| table.used(id)).unwrap_or_default();
                wire::AgentView {
                    agent: Some(agent.description.clone().into()),
                    life: life(agent).into(),
                    leases: table.map_or(0, |table| table.leases_of(id).count() as u32),
                    used_cpu_millis: used.cpu_millis,
                    used_memory_bytes: used.memory_bytes,
                    used_countables: used.countables.to_wire(),
                }
            });
            let status = wire::ClusterStatus {
                cluster: state.cluster.map_or(0, |cluster| cluster.0),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                term: control.term(),
                applied_index: state.applied,
                state_hash: String::new(),
                agents: agents.collect(),
                commits: latencies.count,
                commit_p50_us: latencies.quantile_us(0.5),
                commit_p99_us: latencies.quantile_us(0.99),
                members: vec![peers::look(control)],
                active_jobs: state.active.len() as u32,
                open_tasks: state.backlog.values().map(|backlog| backlog.tasks).sum(),
                feature_level: state.feature_level,
            };
            (status, state.clone())
        });
        let (mut status, state) = status.await.map_err(stopping)?;
        status.members = everybody(status.members, &state).await;
        // Hashing encodes the whole state: not in the loop.
        let hash = tokio::task::spawn_blocking(move || snapshot::hash(&state)).await;
        let hash = hash.map_err(|_| Status::unavailable("the master is stopping"))?;
        Ok(Response::new(wire::ClusterStatus { state_hash: hash.to_string(), ..status }))
    }

    async fn drain(
        &self,
        request: Request<wire::DrainRequest>,
    ) -> Result<Response<wire::DrainResponse>, Status> {
        let wire::DrainRequest { agent, draining } = request.into_inner();
        let change = Change::DrainAgent { agent: AgentId(agent), draining };
        let answer = self.master.change(change).await.map_err(stopping)?;
        answer.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::DrainResponse {}))
    }

    async fn set_weight(
        &self,
        request: Request<wire::NamespaceWeight>,
    ) -> Result<Response<wire::SetWeightResponse>, Status> {
        let (namespace, weight) =
            weight_from_wire(request.into_inner()).map_err(|error| malformed(&error))?;
        let change = Change::SetWeight { namespace, weight };
        let answer = self.master.change(change).await.map_err(stopping)?;
        answer.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::SetWeightResponse {}))
    }

    async fn namespaces(
        &self,
        _request: Request<wire::NamespacesRequest>,
    ) -> Result<Response<wire::NamespacesResponse>, Status> {
        let namespaces = self.master.inspect(|control, _| namespaces(control));
        let namespaces = namespaces.await.map_err(stopping)?.into_iter();
        let namespaces = namespaces.map(wire::NamespaceView::from).collect();
        Ok(Response::new(wire::NamespacesResponse { namespaces }))
    }

    type EventsStream = Pin<Box<dyn Stream<Item = Result<wire::ClusterEvent, Status>> + Send>>;

    async fn events(
        &self,
        request: Request<wire::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        let wire::EventsRequest { after, follow } = request.into_inner();
        let (events, stream) = mpsc::channel(EVENTS_QUEUE);
        let after = after.map(Position::from);
        // Ends with its stream, or with the master.
        tokio::spawn(events::send(self.master.clone(), after, follow, events));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn upgrade(
        &self,
        request: Request<wire::UpgradeRequest>,
    ) -> Result<Response<wire::UpgradeResponse>, Status> {
        let ours = self.master.inspect(|control, _| peers::look(control));
        let ours = ours.await.map_err(stopping)?;
        let state = super::read(&self.master, request.metadata()).await?;
        let from_level = state.feature_level;
        let members = everybody(vec![ours], &state).await;
        let level = upgrade::level_for(&members).map_err(Status::failed_precondition)?;
        if level > from_level {
            let answer = self.master.change(Change::RaiseFeatureLevel(level)).await;
            answer.map_err(stopping)?.map_err(|refusal| refused(&refusal))?;
        }
        let level = level.max(from_level);
        Ok(Response::new(wire::UpgradeResponse { from_level, level }))
    }

    type BackupStream = Pin<Box<dyn Stream<Item = Result<wire::BackupPiece, Status>> + Send>>;

    async fn backup(
        &self,
        request: Request<wire::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let wire::BackupRequest { without_blobs } = *request.get_ref();
        let Ok(only) = Arc::clone(&self.backups).try_acquire_owned() else {
            let why = "a backup is being taken already; try again when it is done";
            return Err(Status::resource_exhausted(why));
        };
        let state = super::read(&self.master, request.metadata()).await?;
        let term = self.master.inspect(|control, _| control.term()).await.map_err(stopping)?;
        let (pieces, stream) = mpsc::channel(backup::PIECES_QUEUE);
        let (master, blobs) = (self.master.clone(), self.blobs.clone());
        // Ends with its stream, or with the master.
        tokio::spawn(async move {
            backup::send((master, blobs), state, term, without_blobs, pieces).await;
            drop(only);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}
